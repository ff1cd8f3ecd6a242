"""The attributes of an optimizer: options that can be assigned, and refusals that give a remedy."""

from __future__ import annotations

from inspect import getattr_static
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from fastoptim import checks
from fastoptim.rules import FAMILIES

if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from fastoptim.optimizer import Optimizer

T = TypeVar("T")

# Attributes that can be read only, and what to do instead of assigning to them.
READ_ONLY = {
    "rule": "it belongs to the class",
    "t": "it counts the steps taken, and load_state_dict sets it",
    "params": "write into its arrays, opt.params[name][...] = value, or make a new optimizer",
    "state": "write into its arrays, opt.state[name][state][...] = value, or call load_state_dict",
    "groups": "assign a group's options, opt.groups[0]['lr'] = value",
} | dict.fromkeys(("state_dtype", "master", "uint16_is_bfloat16"),
                  "the states are stored so: make a new optimizer")

# Attributes that other libraries' optimizers have, and what stands in their place.
ELSEWHERE = {
    "add_param_group": "all groups are given when it is made, [{'params': ...}, ...]",
    "apply_gradients": "the gradients alone go to opt.step(grads), the parameters are known",
    "compute_gradients": "compute the gradients, and call opt.step(grads)",
    "grads": "gradients are bound when it is made, (params, grads=...), or given to "
             "opt.step(grads)",
    "init": "the state is made with it: call opt.step(grads)",
    "learning_rate": "the rate is opt.lr",
    "iterations": "the steps taken are opt.t",
    "minimize": "compute the gradients, and call opt.step(grads)",
    "param_groups": "the groups are opt.groups, their options opt.groups[0]['lr']",
    "update": "opt.step(grads) updates the parameters in place",
    "zero_grad": "nothing has to be zeroed, since opt.step(grads) takes the gradients of its step "
                 "alone",
}


class Option(Generic[T]):
    """A rule's option as an attribute: reads and assigns that of all groups."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.__doc__ = (f"The option {name} of all groups, which can be assigned.\n\n"
                        "Reading it raises ValueError where groups differ.")

    @overload
    def __get__(self, optimizer: None, kind: type) -> Self: ...
    @overload
    def __get__(self, optimizer: Optimizer, kind: type) -> T: ...
    def __get__(self, optimizer: Optimizer | None, kind: type) -> Self | T:
        if optimizer is None:
            return self
        values: list[T] = [getattr(group.rule, self.name) for group in optimizer._groups]
        if any(value != values[0] for value in values):
            raise ValueError(
                f"{self.name} must be read group by group where groups differ, got "
                + ", ".join(f"{value!r} in group {k}" for k, value in enumerate(values))
                + f": opt.groups[0][{self.name!r}]")
        return values[0]

    def __set__(self, optimizer: Optimizer, value: T) -> None:
        optimizer._assign(range(len(optimizer._groups)), self.name, value)


class StorageOption(Generic[T]):
    """An option of storage as an attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.__doc__ = (f"The option {name}, as the states were made." if name in READ_ONLY else
                        f"The option {name}, which can be assigned.")

    @overload
    def __get__(self, optimizer: None, kind: type) -> Self: ...
    @overload
    def __get__(self, optimizer: Optimizer, kind: type) -> T: ...
    def __get__(self, optimizer: Optimizer | None, kind: type) -> Self | T:
        if optimizer is None:
            return self
        value: T = getattr(optimizer._storage, self.name)
        return value

    def __set__(self, optimizer: Optimizer, value: T) -> None:  # unless the name is in READ_ONLY
        optimizer._commit([group.rule for group in optimizer._groups],
                          optimizer._storage.replaced(**{self.name: value}))


class Missing:
    """An attribute of other libraries: its AttributeError says what stands in its place.

    A __getattr__ could say more, but on Python 3.11 it makes each access to any attribute 0.03 us
    slower, and a step makes a dozen.
    """

    def __init__(self, name: str, hint: str) -> None:
        self.name, self.hint = name, hint
        self.__doc__ = f"Not here: {hint}."

    def __get__(self, optimizer: object, kind: type) -> NoReturn:
        self.refuse(kind)

    def refuse(self, kind: type) -> NoReturn:
        raise AttributeError(f"{kind.__name__} has no attribute {self.name!r}: {self.hint}")


class _New:
    """The __new__ of optimizers: gives the call of one without params a message with the remedy.

    Constructors require params, as type checkers and help() show, so that Python's own message
    would come. This is no function, since Sphinx would show its signature in place of __init__'s.
    """

    def __call__(self, kind: type[T], *arguments: object, **options: object) -> T:
        if not hasattr(kind, "rule"):
            kinds = [other.__name__ for rule in FAMILIES  # which begin with the simplest
                     for other in kind.__subclasses__() if getattr(other, "_kernel", None) == rule]
            raise TypeError(f"{kind.__name__} is what all have in common: use "
                            f"{', '.join(kinds[:-1])} or {kinds[-1]}")
        # A user's class may have a constructor of another kind.
        if not arguments and "params" not in options and is_of_this_package(kind.__init__):
            refuse_no_params(kind)
        return object.__new__(kind)


class Guarded:
    """The base of Optimizer: answers what it cannot do with a message that gives the remedy."""

    if not TYPE_CHECKING:  # who would let any assignment pass
        __new__ = _New()

        def __setattr__(self, name: str, value: object) -> None:
            if name[0] != "_" and name != "lr":  # the frequent ones first, as fast as possible
                self._check_assignable(name)
            object.__setattr__(self, name, value)

    def _check_assignable(self, name: str) -> None:
        kind = type(self)
        known = getattr_static(kind, name, None)
        if isinstance(known, Missing):
            known.refuse(kind)
        if not hasattr(kind, name):
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}"
                                 f"{checks.suggestion(name, dir(self))}")
        if name in READ_ONLY:
            hint = READ_ONLY[name]
        elif callable(known):
            hint = f"it is a method, opt.{name}(...)"
        elif isinstance(known, property) and known.fset is None:
            hint = "it can be read only"
        else:
            return
        raise AttributeError(f"{name} of {kind.__name__} must not be assigned to: {hint}")

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if name not in ELSEWHERE]


def is_of_this_package(function: Any) -> bool:
    return bool(function.__module__.partition(".")[0] == __name__.partition(".")[0])


def refuse_no_params(kind: type) -> NoReturn:
    raise TypeError("params must be an array, a sequence or a mapping of arrays, got NoneType: "
                    f"{kind.__name__}(params, lr=...)")


# Not in the class body, where type checkers would take them for attributes that exist.
for _name, _hint in ELSEWHERE.items():
    setattr(Guarded, _name, Missing(_name, _hint))
