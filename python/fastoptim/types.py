"""The types of what the package takes, for annotations: imported by type checkers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Array", "Grads", "Params", "Rounding", "Schedule", "StateDtype", "SupportsDLPack"]


class SupportsDLPack(Protocol):
    """An array that is exchanged by DLPack: of torch or JAX, say."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


# One array: of NumPy, or of anything with the buffer protocol or DLPack.
Array: TypeAlias = "Buffer | SupportsDLPack"

# The learning rate of a step, which counts from 0.
Schedule: TypeAlias = Callable[[int], float]

# One gradient, or all by name or in the parameters' order.
Grads: TypeAlias = "Array | Iterable[Array] | Mapping[str, Array]"

# What an optimizer updates. An item may be a group: {"params": ..., "lr": ..., ...}.
Params: TypeAlias = "Array | Iterable[Array | Mapping[str, Any]] | Mapping[str, Array]"

# How states are stored, and how what is stored in fewer bytes than float32 is rounded.
StateDtype: TypeAlias = Literal["float32", "bfloat16", "float16", "q8"]
Rounding: TypeAlias = Literal["stochastic", "nearest"]
