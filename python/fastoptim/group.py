"""Parameter groups: parameters that share options, and a view of them for users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fastoptim import checks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from fastoptim.optimizer import Optimizer
    from fastoptim.rules import Rule
    from fastoptim.types import Schedule

__all__ = ["Group"]


class GroupData:
    """A group as the optimizer keeps it."""

    __slots__ = ("lr", "names", "rule")

    def __init__(self, rule: Rule, lr: float | Schedule | None, names: list[str | int]) -> None:
        self.rule = rule
        self.lr = lr  # None: the optimizer's
        self.names = names  # of its parameters


class Group(Mapping[str, object]):
    """Parameters that share options, which are read and assigned by name.

    A rate that is assigned, ``group["lr"] = 0.01``, is the group's own from
    then on, whatever the optimizer's or its schedule: ``group["lr"] *= 0.5``
    reads that of the coming step, and assigns a number. None gives the group
    back to the optimizer's rate.
    """

    __slots__ = ("_index", "_optimizer")

    # Each access to Optimizer.groups makes a new one: an optimizer that held its groups, which
    # refer to it, would be a reference cycle, and its states would live until the next garbage
    # collection.
    def __init__(self, optimizer: Optimizer, index: int) -> None:
        self._optimizer = optimizer
        self._index = index

    @property
    def _data(self) -> GroupData:
        return self._optimizer._groups[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(["params", "lr", *self._data.rule.as_dict()])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, option: str) -> Any:
        if option == "params":
            return tuple(self._data.names)
        if option == "lr":
            return self._optimizer._rate(self._data, self._optimizer.lr)
        self._check_option(option)
        return getattr(self._data.rule, option)

    def __setitem__(self, option: str, value: object) -> None:
        if option == "lr":
            rate = None if value is None else check_lr(value)
            self._optimizer._set_rate(self._data, "lr", rate)
            return
        self._check_option(option)
        self._optimizer._assign([self._index], option, value)

    def _check_option(self, option: object) -> None:
        options = ["lr", *self._data.rule.as_dict()]
        if option not in options[1:]:
            raise KeyError(f"the option must be among {', '.join(options)}, got {option!r}"
                           f"{checks.suggestion(option, options)}")

    if not TYPE_CHECKING:  # who would let any name pass

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"a group has its options as items: group[{name!r}]"
                                 if name in self else f"a group has no attribute {name!r}"
                                 f"{checks.suggestion(name, [*self, 'keys', 'items', 'values'])}")

        def __setattr__(self, name: str, value: object) -> None:
            if name not in Group.__slots__:
                raise AttributeError(f"options of a group must be assigned as items, got {name!r}: "
                                     f"group[{name!r}] = value")
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={self[name]!r}" for name in self if name != "params")
        return f"Group({len(self['params'])} parameters, {options})"


def check_lr(lr: Any) -> float | Schedule:
    """Return a learning rate as the optimizer keeps it: a float, or the schedule itself."""
    if not callable(lr):
        return checks.number("lr", lr)
    rate: Any = lr
    return rate  # type: ignore[no-any-return]  # what it returns is checked in each step


def is_one_fixed_rate(lr: object, group_rates: Iterable[object]) -> bool:
    """Return whether one number is the learning rate of every group and step."""
    return not callable(lr) and all(rate is None for rate in group_rates)
