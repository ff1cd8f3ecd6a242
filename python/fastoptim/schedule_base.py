"""What all schedules share: immutable dataclasses that are called with a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

import numpy as np

from fastoptim import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from numpy.typing import NDArray

    Kind = TypeVar("Kind", bound=type)


@dataclass_transform(frozen_default=True)
def immutable(*, kw_only: bool = False) -> Callable[[Kind], Kind]:
    """Make a frozen dataclass, whose error says what to do instead of an assignment."""
    def refuse(self: object, name: str, *_: object) -> NoReturn:
        kind = type(self).__name__
        raise AttributeError(f"{name} must stay as it is, since a schedule is a value: make "
                             f"another {kind}, and assign it, opt.lr = {kind}(...)")

    def decorate(cls: Any) -> Any:
        cls = dataclass(frozen=True, kw_only=kw_only)(cls)
        cls.__setattr__ = cls.__delattr__ = refuse
        return cls

    return decorate


class ScheduleBase:
    """What all schedules share: steps and epochs, checked, one by one or in arrays."""

    steps_per_epoch: int = 1

    @overload
    def __call__(self, step: int | np.integer[Any]) -> float: ...

    @overload
    def __call__(self, step: NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...

    def __call__(self, step: int | np.integer[Any] | NDArray[np.integer[Any]]) -> (
            float | NDArray[np.float64]):
        """Return the learning rate of a step, or of each of an array of steps.

        Parameters
        ----------
        step : int or array of int
            The step, counted from 0.

        Returns
        -------
        float or array
            The rate, or a float64 array of the shape of `step`.

        Raises
        ------
        TypeError
            If `step` is not of integers.
        ValueError
            If a step is below 0 or above ``2**53``.
        """
        return self._rates("step", step, self.steps_per_epoch)

    @overload
    def at_epoch(self, epoch: int | np.integer[Any]) -> float: ...

    @overload
    def at_epoch(self, epoch: NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...

    def at_epoch(self, epoch: int | np.integer[Any] | NDArray[np.integer[Any]]) -> (
            float | NDArray[np.float64]):
        """Return the learning rate of an epoch, or of each of an array of epochs.

        Parameters
        ----------
        epoch : int or array of int
            The epoch, counted from 0.

        Returns
        -------
        float or array
            The rate, or a float64 array of the shape of `epoch`.

        Raises
        ------
        TypeError
            If `epoch` is not of integers.
        ValueError
            If an epoch is below 0 or above ``2**53``.
        """
        return self._rates("epoch", epoch, 1)

    def _rates(self, name: str, count: Any, per_epoch: int) -> float | NDArray[np.float64]:
        if type(count) is int and 0 <= count <= checks.MAX_STEPS:  # an optimizer's call
            return self._rate(count // per_epoch)
        if not isinstance(count, np.ndarray) or count.ndim == 0:
            count = checks.integer(name, count, low=0, high=checks.MAX_STEPS)
            return self._rate(count // per_epoch)
        if count.dtype.kind not in "iu":
            raise TypeError(f"{name} must be an integer, or an array of integers, got an array of "
                            f"{count.dtype}")
        if count.size:
            for worst in (count.min(), count.max()):
                checks.integer(name, int(worst), low=0, high=checks.MAX_STEPS)
        # One by one, since NumPy's power may round otherwise than Python's; each epoch once.
        epochs, places = np.unique(count // per_epoch, return_inverse=True)
        rates = np.array([self._rate(epoch) for epoch in epochs.tolist()], np.float64)
        in_order: NDArray[np.float64] = rates[places].reshape(count.shape)
        return in_order

    def _rate(self, epoch: int) -> float:
        raise NotImplementedError

    def _number(self, name: str) -> None:
        object.__setattr__(self, name, checks.number(name, getattr(self, name)))

    def _count(self, name: str) -> None:
        object.__setattr__(self, name, checks.integer(name, getattr(self, name), low=1))


@immutable()
class PerEpoch(ScheduleBase):
    """A rate for each epoch: what the schedules below share."""

    lr: float
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        self._number("lr")
        self._count("steps_per_epoch")
