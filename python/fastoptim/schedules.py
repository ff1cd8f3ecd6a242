"""Learning-rate schedules: pure, picklable callables from step to learning rate.

Steps count from 0. With `steps_per_epoch`, a schedule changes once an epoch, and
`epoch = step // steps_per_epoch`; without it, every step is an epoch of its own. They are
classes named like functions, since that is how they are used: `inverse_time(1e-3, ...)(step)`.
Any callable from an int to a float can stand in for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from math import sqrt
from numbers import Integral

from fastoptim import checks

__all__ = ["constant", "exponential", "inverse_sqrt", "inverse_time", "piecewise", "staircase"]


@dataclass(frozen=True)
class constant:
    """The same learning rate at every step: lr.

    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        checks.number("lr", self.lr)

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class _PerEpoch:
    """A rate for each epoch: what the schedules below share."""

    lr: float
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        checks.number("lr", self.lr)
        checks.integer("steps_per_epoch", self.steps_per_epoch, low=1)

    def __call__(self, step: int) -> float:
        return self.at_epoch(step // self.steps_per_epoch)


@dataclass(frozen=True, kw_only=True)
class inverse_time(_PerEpoch):
    """Decay with the inverse of time: lr / (1 + decay_rate*epoch).

    >>> halving = inverse_time(0.2, decay_rate=1.0, steps_per_epoch=100)
    >>> [round(halving(step), 3) for step in (0, 99, 100, 200)]
    [0.2, 0.2, 0.1, 0.067]
    """

    decay_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("decay_rate", self.decay_rate)

    def at_epoch(self, epoch: int) -> float:
        return self.lr / (1 + self.decay_rate * epoch)


@dataclass(frozen=True, kw_only=True)
class exponential(_PerEpoch):
    """Exponential decay: lr * base**epoch.

    >>> round(exponential(0.2, base=0.95, steps_per_epoch=10)(20), 4)
    0.1805
    """

    base: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("base", self.base)

    def at_epoch(self, epoch: int) -> float:
        return self.lr * self.base**epoch


@dataclass(frozen=True, kw_only=True)
class inverse_sqrt(_PerEpoch):
    """Decay with the inverse square root: k*lr / sqrt(epoch), epochs counted from 1 here.

    Without `steps_per_epoch` this is k*lr / sqrt(t), t being the number of the step.

    >>> [inverse_sqrt(0.2)(step) for step in (0, 3)]
    [0.2, 0.1]
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("k", self.k)

    def at_epoch(self, epoch: int) -> float:
        return self.k * self.lr / sqrt(epoch + 1)


@dataclass(frozen=True, kw_only=True)
class staircase(_PerEpoch):
    """Discrete steps down: lr * factor**(epoch // every).

    >>> [staircase(0.2, every=10)(step) for step in (0, 9, 10, 20)]
    [0.2, 0.2, 0.1, 0.05]
    """

    every: int
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer("every", self.every, low=1)
        checks.number("factor", self.factor)

    def at_epoch(self, epoch: int) -> float:
        return self.lr * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class piecewise:
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
        for epoch, lr in self.table.items():
            checks.integer("an epoch of the table", epoch, low=0)
            checks.number(f"the learning rate from epoch {epoch}", lr)
        if 0 not in self.table:
            raise ValueError(f"table must begin at epoch 0, got {dict(self.table)!r}")
        checks.integer("steps_per_epoch", self.steps_per_epoch, low=1)
        object.__setattr__(self, "table", dict(sorted(self.table.items())))

    def __call__(self, step: int) -> float:
        epoch = step // self.steps_per_epoch
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
