"""Options as a value, and mappings that can be read only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from fastoptim import checks

if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

Key = TypeVar("Key")
Value = TypeVar("Value")


class ReadOnly(Mapping[Key, Value]):
    """A view of a dict that cannot be assigned to; the TypeError says what to do instead.

    An in-place operation such as `x[key] *= 2` also assigns its result, which is the value that
    is there already: that assignment is let pass.
    """

    __slots__ = ("_items", "_remedy")

    def __init__(self, items: dict[Key, Value], remedy: str) -> None:
        self._items = items
        self._remedy = remedy  # the message, which may name the {key}

    def __getitem__(self, key: Key) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setitem__(self, key: Key, value: Value) -> None:
        if key not in self._items or self._items[key] is not value:
            self.__delitem__(key)

    def __delitem__(self, key: Key) -> None:
        raise TypeError(self._remedy.replace("{key}", repr(key)))

    def _refuse(self, *arguments: object, **items: object) -> NoReturn:
        raise TypeError(self._remedy.replace("{key}", "name"))

    clear = pop = popitem = setdefault = update = _refuse  # of a dict

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return self._items | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(other) | self._items if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return repr(self._items)


class Options:
    """Named options that cannot change; equal if their kind and all values are.

    This is a frozen dataclass without the code that one generates and compiles for each class,
    which took half of the package's import time. The instance's dict holds the options, in order,
    and nothing else: a subclass keeps what is no option in slots.
    """

    def _number(self, name: str, **limits: float) -> None:
        self._set(name, checks.number(name, getattr(self, name), **limits))

    def _flags(self, *names: str) -> None:
        for name in names:
            checks.flag(name, getattr(self, name))

    def _set(self, name: str, value: object) -> None:
        vars(self)[name] = value

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} must stay as it is, since options are a value: "
                             f"replaced({name}=...) makes others")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def as_dict(self) -> dict[str, Any]:
        """Return the options by name, as a new dict."""
        return dict(vars(self))

    def replaced(self, **changes: object) -> Self:
        """Return options with some values replaced, checked."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"
