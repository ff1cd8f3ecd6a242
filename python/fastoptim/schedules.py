"""Learning-rate schedules: pure, picklable callables from step to learning rate.

Steps count from 0. With `steps_per_epoch`, a schedule changes once an epoch, and
``epoch = step // steps_per_epoch``; without it, every step is an epoch of its
own. They are classes named like functions, since that is how they are used:
``inverse_time(1e-3, ...)(step)``; `at_epoch` takes the epoch itself. Both take
an integer >= 0, or a NumPy array of such, for which they give a float64 array
of the same shape and of the same bits as one by one. Any callable from an int
to a real number can stand in for them.

>>> import numpy as np
>>> exponential(0.2, base=0.5)(np.arange(4))
array([0.2  , 0.1  , 0.05 , 0.025])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from math import inf, sqrt
from numbers import Integral
from typing import TYPE_CHECKING, Any

from fastoptim import checks
from fastoptim.options import ReadOnly
from fastoptim.schedule_base import PerEpoch, ScheduleBase, immutable

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["constant", "exponential", "inverse_sqrt", "inverse_time", "piecewise", "staircase"]


if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> NoReturn:
        hint = "" if name.startswith("_") else checks.suggestion(name, __all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def _scaled_power(lr: float, base: float, exponent: int) -> float:
    """Return lr * base**exponent, or inf where it overflows, which a step then refuses."""
    try:
        return lr * base**exponent
    except OverflowError:
        return inf if lr else 0.0


@immutable()
class constant(ScheduleBase):
    r"""The same learning rate at every step.

    .. math:: \alpha_e = \mathrm{lr}

    Parameters
    ----------
    lr : float
        The learning rate, at least 0.

    Raises
    ------
    TypeError
        If `lr` is not a number.
    ValueError
        If `lr` is negative or not finite.

    Examples
    --------
    >>> from fastoptim.schedules import constant
    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._number("lr")

    def _rate(self, epoch: int) -> float:
        return self.lr


@immutable(kw_only=True)
class inverse_time(PerEpoch):
    r"""Decay with the inverse of time.

    .. math:: \alpha_e = \frac{\mathrm{lr}}{1 + \mathrm{decay\_rate} \cdot e}

    Parameters
    ----------
    lr : float
        The learning rate at the start, at least 0.
    steps_per_epoch : int, default 1
        Steps in an epoch e, at least 1.
    decay_rate : float
        The decay in an epoch, at least 0.

    Raises
    ------
    TypeError
        If an option is not a number, or a count not an integer.
    ValueError
        If an option is negative or not finite, or a count below 1.

    Examples
    --------
    >>> from fastoptim.schedules import inverse_time
    >>> halving = inverse_time(0.2, decay_rate=1.0, steps_per_epoch=100)
    >>> [round(halving(step), 3) for step in (0, 99, 100, 200)]
    [0.2, 0.2, 0.1, 0.067]
    """

    decay_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("decay_rate")

    def _rate(self, epoch: int) -> float:
        return self.lr / (1 + self.decay_rate * epoch)


@immutable(kw_only=True)
class exponential(PerEpoch):
    r"""Exponential decay.

    .. math:: \alpha_e = \mathrm{lr} \cdot \mathrm{base}^e

    Parameters
    ----------
    lr : float
        The learning rate at the start, at least 0.
    steps_per_epoch : int, default 1
        Steps in an epoch e, at least 1.
    base : float, default 0.95
        The factor of an epoch, at least 0.

    Raises
    ------
    TypeError
        If an option is not a number, or a count not an integer.
    ValueError
        If an option is negative or not finite, or a count below 1.

    Examples
    --------
    >>> from fastoptim.schedules import exponential
    >>> round(exponential(0.2, base=0.95, steps_per_epoch=10)(20), 4)
    0.1805
    """

    base: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("base")

    def _rate(self, epoch: int) -> float:
        return _scaled_power(self.lr, self.base, epoch)


@immutable(kw_only=True)
class inverse_sqrt(PerEpoch):
    r"""Decay with the inverse square root.

    .. math:: \alpha_e = \frac{k \cdot \mathrm{lr}}{\sqrt{e + 1}}

    Without `steps_per_epoch` this is :math:`k \cdot \mathrm{lr} / \sqrt{t}`
    in step t, counted from 1.

    Parameters
    ----------
    lr : float
        The learning rate at the start, at least 0.
    steps_per_epoch : int, default 1
        Steps in an epoch e, at least 1.
    k : float, default 1.0
        A factor, at least 0.

    Raises
    ------
    TypeError
        If an option is not a number, or a count not an integer.
    ValueError
        If an option is negative or not finite, or a count below 1.

    Examples
    --------
    >>> from fastoptim.schedules import inverse_sqrt
    >>> [inverse_sqrt(0.2)(step) for step in (0, 3)]
    [0.2, 0.1]
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("k")

    def _rate(self, epoch: int) -> float:
        return self.k * self.lr / sqrt(epoch + 1)


@immutable(kw_only=True)
class staircase(PerEpoch):
    r"""Discrete steps down.

    .. math::

        \alpha_e = \mathrm{lr} \cdot
            \mathrm{factor}^{\lfloor e / \mathrm{every} \rfloor}

    Parameters
    ----------
    lr : float
        The learning rate at the start, at least 0.
    steps_per_epoch : int, default 1
        Steps in an epoch e, at least 1.
    every : int
        Epochs from one step down to the next, at least 1.
    factor : float, default 0.5
        The factor of a step down, at least 0.

    Raises
    ------
    TypeError
        If an option is not a number, or a count not an integer.
    ValueError
        If an option is negative or not finite, or a count below 1.

    Examples
    --------
    >>> from fastoptim.schedules import staircase
    >>> [staircase(0.2, every=10)(step) for step in (0, 9, 10, 20)]
    [0.2, 0.2, 0.1, 0.05]
    """

    every: int
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._count("every")
        self._number("factor")

    def _rate(self, epoch: int) -> float:
        return _scaled_power(self.lr, self.factor, epoch // self.every)


@immutable()
class piecewise(ScheduleBase):
    r"""Decay by hand: a table of rates, each valid until the next begins.

    .. math:: \alpha_e = \mathrm{table}[\max \{b \in \mathrm{table} : b \le e\}]

    Parameters
    ----------
    table : mapping from int to float
        Maps the epoch at which a rate begins, at least 0, to that rate, at
        least 0. It must hold epoch 0.
    steps_per_epoch : int, default 1
        Steps in an epoch e, at least 1.

    Raises
    ------
    TypeError
        If `table` is not a mapping, an epoch or `steps_per_epoch` is not an
        integer, or a rate not a number.
    ValueError
        If `table` does not hold epoch 0, or a value is out of range.

    Examples
    --------
    >>> from fastoptim.schedules import piecewise
    >>> by_hand = piecewise({0: 0.2, 30: 0.1, 60: 0.01})
    >>> [by_hand(step) for step in (0, 29, 30, 1000)]
    [0.2, 0.2, 0.1, 0.01]
    """

    table: Mapping[int, float]
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.table, Mapping):
            raise TypeError(f"table must map epochs to learning rates, got {self.table!r}")
        table = {checks.integer("an epoch of the table", epoch, low=0):
                 checks.number(f"the learning rate from epoch {epoch}", lr)
                 for epoch, lr in self.table.items()}
        if 0 not in table:
            raise ValueError(f"table must begin at epoch 0, got {dict(self.table)!r}")
        self._count("steps_per_epoch")
        object.__setattr__(self, "table", ReadOnly(
            dict(sorted(table.items())), "the table of a schedule must stay as it is, since a "
            "schedule is a value: make another piecewise, and assign it, opt.lr = piecewise(...)"))

    def _rate(self, epoch: int) -> float:
        return self.table[max(start for start in self.table if start <= epoch)]


def to_value(schedule: Callable[..., object]) -> dict[str, object]:
    """Return a schedule as plain values, which JSON keeps.

    Parameters
    ----------
    schedule : callable
        One of this module's, or another.

    Returns
    -------
    dict
        Its name and fields, ``{"schedule": name, field: value, ...}``. Of a
        callable that is none of this module's, or holds numbers that neither
        int nor float has, it is ``{"callable": repr(schedule)}``.

    Examples
    --------
    >>> to_value(piecewise({0: 0.2, 30: 0.1}))
    {'schedule': 'piecewise', 'table': [[0, 0.2], [30, 0.1]], 'steps_per_epoch': 1}
    """
    kind = type(schedule)
    if kind.__name__ in __all__ and globals()[kind.__name__] is kind:
        fields = {name: getattr(schedule, name) for name in signature(kind).parameters}
        try:
            return {"schedule": kind.__name__, **{
                name: [[_plain(epoch), _plain(lr)] for epoch, lr in x.items()]
                if isinstance(x, Mapping) else _plain(x) for name, x in fields.items()}}
        except TypeError:
            pass
    return {"callable": repr(schedule)}


def _plain(x: object) -> int | float:
    """Return x as an int or a float; TypeError otherwise."""
    if isinstance(x, Integral):
        return int(x)
    if isinstance(x, float):  # NumPy's float64 is one, too
        return float(x)
    raise TypeError(f"must be an int or a float, got {x!r}")


def from_value(value: Mapping[str, Any], what: str = "a schedule") -> Callable[[int], float]:
    """Return the schedule that `to_value` made `value` of.

    Parameters
    ----------
    value : mapping
        What `to_value` returned.
    what : str, default "a schedule"
        What messages call it.

    Returns
    -------
    callable
        The schedule.

    Raises
    ------
    TypeError
        If a field is of a wrong type.
    ValueError
        If the name is none of this module's, or the schedule does not take the
        fields.

    Examples
    --------
    >>> from_value({"schedule": "constant", "lr": 0.1})
    constant(lr=0.1)
    """
    fields = dict(value)
    name = fields.pop("schedule", None)
    if name not in __all__:
        raise ValueError(f"{what} must be one of {', '.join(__all__)}, got {value!r}")
    kind: Callable[..., Callable[[int], float]] = globals()[name]
    if set(fields) != set(signature(kind).parameters):
        raise ValueError(f"{what} must hold {list(signature(kind).parameters)} of {name}, "
                         f"got {value!r}")
    if isinstance(fields.get("table"), (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in fields["table"]):
            raise ValueError(f"{what} must hold pairs (epoch, learning rate), got {value!r}")
        fields["table"] = dict(fields["table"])
    return kind(**fields)
