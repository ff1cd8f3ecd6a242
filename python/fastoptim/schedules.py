"""Learning-rate schedules: pure, picklable callables from step to learning rate.

Steps count from 0. With `steps_per_epoch`, a schedule changes once an epoch, and
`epoch = step // steps_per_epoch`; without it, every step is an epoch of its own. They are
classes named like functions, since that is how they are used: `inverse_time(1e-3, ...)(step)`;
`at_epoch` takes the epoch itself. Both take an integer >= 0, or a NumPy array of such, for which
they give a float64 array of the same shape and of the same bits as one by one.
Any callable from an int to a real number can stand in for them.

>>> import numpy as np
>>> exponential(0.2, base=0.5)(np.arange(4))
array([0.2  , 0.1  , 0.05 , 0.025])
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from math import inf, sqrt
from numbers import Integral

import numpy as np

from fastoptim import checks
from fastoptim.options import ReadOnly

__all__ = ["constant", "exponential", "inverse_sqrt", "inverse_time", "piecewise", "staircase"]


def __getattr__(name: str):
    hint = "" if name.startswith("_") else checks.suggestion(name, __all__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def _value(**options: bool):
    """A dataclass whose fields stay as they are, and whose error says what to do instead."""
    def refuse(self, name: str, *value: object) -> None:
        kind = type(self).__name__
        raise AttributeError(f"{name} must stay as it is, since a schedule is a value: make "
                             f"another {kind}, and assign it, opt.lr = {kind}(...)")

    def decorate(cls):
        cls = dataclass(frozen=True, **options)(cls)
        cls.__setattr__ = cls.__delattr__ = refuse
        return cls

    return decorate


def _scaled_power(lr: float, base: float, exponent: int) -> float:
    """lr * base**exponent, infinite where it is beyond float64, which a step then refuses."""
    try:
        return lr * base**exponent
    except OverflowError:
        return inf if lr else 0.0


class _Schedule:
    """What all schedules share: steps and epochs, checked, one by one or in arrays."""

    steps_per_epoch = 1

    def __call__(self, step):
        return self._rates("step", step, self.steps_per_epoch)

    def at_epoch(self, epoch):
        """The learning rate of an epoch, counted from 0, or of each of an array of epochs."""
        return self._rates("epoch", epoch, 1)

    def _rates(self, name: str, count, per_epoch: int):
        if type(count) is int and 0 <= count <= checks.MAX_STEPS:  # what an optimizer asks for
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
        return rates[places].reshape(count.shape)

    def _rate(self, epoch: int) -> float:
        raise NotImplementedError

    def _number(self, name: str) -> None:
        object.__setattr__(self, name, checks.number(name, getattr(self, name)))

    def _count(self, name: str) -> None:
        object.__setattr__(self, name, checks.integer(name, getattr(self, name), low=1))


@_value()
class constant(_Schedule):
    """The same learning rate at every step: lr.

    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._number("lr")

    def _rate(self, epoch: int) -> float:
        return self.lr


@_value()
class _PerEpoch(_Schedule):
    """A rate for each epoch: what the schedules below share."""

    lr: float
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        self._number("lr")
        self._count("steps_per_epoch")


@_value(kw_only=True)
class inverse_time(_PerEpoch):
    """Decay with the inverse of time: lr / (1 + decay_rate*epoch).

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


@_value(kw_only=True)
class exponential(_PerEpoch):
    """Exponential decay: lr * base**epoch.

    >>> round(exponential(0.2, base=0.95, steps_per_epoch=10)(20), 4)
    0.1805
    """

    base: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("base")

    def _rate(self, epoch: int) -> float:
        return _scaled_power(self.lr, self.base, epoch)


@_value(kw_only=True)
class inverse_sqrt(_PerEpoch):
    """Decay with the inverse square root: k*lr / sqrt(epoch), epochs counted from 1 here.

    Without `steps_per_epoch` this is k*lr / sqrt(t), t being the number of the step.

    >>> [inverse_sqrt(0.2)(step) for step in (0, 3)]
    [0.2, 0.1]
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("k")

    def _rate(self, epoch: int) -> float:
        return self.k * self.lr / sqrt(epoch + 1)


@_value(kw_only=True)
class staircase(_PerEpoch):
    """Discrete steps down: lr * factor**(epoch // every).

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


@_value()
class piecewise(_Schedule):
    """Decay by hand: a table of epoch -> rate, each valid until the next.

    `table` maps the epoch at which a rate begins to that rate; it must begin at epoch 0.

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


def to_value(schedule: Callable) -> dict[str, object]:
    """A schedule as plain values, which JSON keeps: its name and its fields.

    Of a callable that is none of this module's, or holds numbers that neither int nor float has:
    its repr, as {"callable": ...}.

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
    if isinstance(x, Integral):
        return int(x)
    if isinstance(x, float):  # as NumPy's float64 is
        return float(x)
    raise TypeError(f"must be an int or a float, got {x!r}")


def from_value(value: Mapping, what: str = "a schedule") -> Callable:
    """The schedule that `to_value` made `value` of.

    Raises:
        TypeError, ValueError: no name of this module, or fields that the schedule does not take.
    """
    fields = dict(value)
    name = fields.pop("schedule", None)
    if name not in __all__:
        raise ValueError(f"{what} must be one of {', '.join(__all__)}, got {value!r}")
    kind = globals()[name]
    if set(fields) != set(signature(kind).parameters):
        raise ValueError(f"{what} must hold {list(signature(kind).parameters)} of {name}, "
                         f"got {value!r}")
    if isinstance(fields.get("table"), (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in fields["table"]):
            raise ValueError(f"{what} must hold pairs (epoch, learning rate), got {value!r}")
        fields["table"] = dict(fields["table"])
    return kind(**fields)
