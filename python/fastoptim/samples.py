"""Arrays whose samples are taken together: what they are called, their axes, their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastoptim import _core, checks, parameters
from fastoptim.permutation import MAX_ROWS

if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    from typing_extensions import Buffer

    class SupportsArray(Protocol):
        """What has `__array__`."""

        def __array__(self, *args: Any, **kwargs: Any) -> Array: ...

    class SupportsDLPack(Protocol):
        """What has `__dlpack__`."""

        def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

    Array: TypeAlias = np.ndarray
    ArrayInput: TypeAlias = Array | Buffer | SupportsArray | SupportsDLPack
    """An array of NumPy, or anything that shows its memory without a copy."""

    Axis: TypeAlias = int | tuple[int, ...] | list[int]
    """One axis for all arrays, or one for each."""


class Samples:
    """The arrays of a call, checked.

    Parameters
    ----------
    given : sequence of arrays
        The positional arguments of the call: arrays, or one mapping of them.
    axis : int or sequence of int
        The axis of the samples, of all arrays or of each.

    Raises
    ------
    TypeError
        If one is not an array, or holds Python objects.
    ValueError
        If there is no array, an axis is out of range, or lengths differ.
    """

    def __init__(self, given: Sequence[object], axis: Axis) -> None:
        self.names: tuple[str | int, ...] | None = None  # those of the arrays of a mapping
        if len(given) == 1 and isinstance(given[0], Mapping):
            named = parameters.named(given[0], "arrays")
            self.names, given = tuple(named), list(named.values())
        if not given:
            raise ValueError("arrays must be at least one, got none")
        self.labels = [f"array {name!r}" for name in self.names or range(len(given))]
        self.arrays = [_checked_array(x, label) for x, label in zip(given, self.labels)]
        self.axes = self._checked_axes(axis)
        lengths = [x.shape[k] for x, k in zip(self.arrays, self.axes)]
        if any(n != lengths[0] for n in lengths):
            raise ValueError(self._unequal(lengths))
        self.n = checks.integer("the length of the arrays", lengths[0], low=0, high=MAX_ROWS)

    def _checked_axes(self, axis: Axis) -> list[int]:
        """Return each array's axis, counted from the front."""
        many = isinstance(axis, (tuple, list))
        each = list(axis) if isinstance(axis, (tuple, list)) else [axis] * len(self.arrays)
        if len(each) != len(self.arrays):
            raise ValueError("axis must be an integer or a tuple of "
                             f"{len(self.arrays)}, one for each array, got {axis!r}")
        axes = []
        for x, label, k in zip(self.arrays, self.labels, each):
            if x.ndim == 0:
                raise ValueError(f"{label} must have an axis of samples, got shape ()")
            k = checks.integer("axis", k)
            if not -x.ndim <= k < x.ndim:
                where = f" for {label} of shape {x.shape}" if len(self.arrays) > 1 else ""
                hint = "" if many or not where else "; axis may be a tuple, one for each array"
                raise ValueError(f"axis must be in [{-x.ndim}, {x.ndim - 1}]{where}, got {k}{hint}")
            axes.append(k % x.ndim)
        return axes

    def _unequal(self, lengths: list[int]) -> str:
        """Return the message for arrays whose lengths differ."""
        along = f"axis {self.axes[0]}" if len(set(self.axes)) == 1 else f"axes {tuple(self.axes)}"
        each = ", ".join(f"{n} for {label}" for n, label in zip(lengths, self.labels))
        hint = ""
        for n in lengths:  # perhaps the length of every array along another axis
            if all(x.shape.count(n) == 1 for x in self.arrays):
                axes = tuple(x.shape.index(n) for x in self.arrays)
                hint = f"; axis={axes} would give {n} for each"
        return f"arrays must have the same length along {along}, got {each}{hint}"


def _checked_array(x: object, label: str) -> Array:
    """Return x as an array that shares its memory; TypeError if it is none."""
    if isinstance(x, (list, tuple)) and x and all(map(parameters.is_array, x)):
        raise TypeError(f"{label} must be an array, got a {type(x).__name__} of arrays: "
                        "unpack it, as MiniBatches(*arrays)")
    if isinstance(x, Mapping):
        raise TypeError(f"{label} must be an array, got {type(x).__name__}: a dict of arrays must "
                        "come alone")
    array = _core.as_array(x, label)
    if array.dtype.hasobject:
        raise TypeError(f"{label} must not hold Python objects, got dtype {array.dtype}")
    return x if isinstance(x, np.ndarray) else array


def mapping_of(array: Any) -> np.memmap | None:
    """Return the memory map that an array shows, or None."""
    while array is not None and not (isinstance(array, np.memmap) and array.mode):
        array = getattr(array, "base", None)
    return array


def maps_a_file(array: Array) -> bool:
    """Return whether the array's pages are backed by a file: dropped, they are read again."""
    mapping = mapping_of(array)
    return mapping is not None and mapping.mode in ("r", "r+", "w+")
