"""Options as a value, and mappings that can be read only."""

from collections.abc import Iterator, Mapping

from fastoptim import checks


class ReadOnly(Mapping):
    """A view of a dict that cannot be assigned to; the TypeError says what to do instead.

    What `x[key] *= 2` has done in place, and then assigns, is there already and is let pass.
    """

    __slots__ = ("_items", "_rule")

    def __init__(self, items: dict, rule: str) -> None:
        self._items = items
        self._rule = rule  # may name the {key}

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self) -> Iterator:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setitem__(self, key, value) -> None:
        if key not in self._items or self._items[key] is not value:
            self.__delitem__(key)

    def __delitem__(self, key) -> None:
        raise TypeError(self._rule.replace("{key}", repr(key)))

    def _refuse(self, *arguments: object, **items: object) -> None:
        raise TypeError(self._rule.replace("{key}", "name"))

    clear = pop = popitem = setdefault = update = _refuse  # of a dict

    def __or__(self, other):
        return self._items | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other):
        return dict(other) | self._items if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return repr(self._items)


class Options:
    """Named options that stay as they are; equal if they are of one kind and have equal values.

    What a frozen dataclass is, but for the code that one writes and compiles for each class: for
    those of this package that was half of its import's time.
    """

    defaults: dict[str, object] = {}  # name -> default, of all that there are

    def __init__(self, **given: object) -> None:
        for name in given:
            if name not in self.defaults:
                raise TypeError(f"{type(self).__name__} takes the options "
                                f"{', '.join(self.defaults)}, got {name!r}"
                                f"{checks.suggestion(name, self.defaults)}")
        vars(self).update(self.defaults)
        vars(self).update(given)
        self._check()

    def _check(self) -> None:
        """TypeError or ValueError names the first option that cannot be taken."""

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

    def as_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.defaults}

    def replaced(self, **given: object) -> "Options":
        return type(self)(**(self.as_dict() | given))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((type(self), *self.as_dict().items()))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({options})"
