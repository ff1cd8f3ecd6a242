"""Options as a value."""

from fastoptim import checks


class Options:
    """Named options that stay as they are; equal if they are of one kind and have equal values.

    What a frozen dataclass is, but for the code that one writes and compiles for each class: for
    those of this package that was half of its import's time.
    """

    defaults: dict[str, object] = {}  # name -> default, of all that there are

    def __init__(self, **given: object) -> None:
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
        raise AttributeError(f"{name} must stay as it is: options are a value")

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
