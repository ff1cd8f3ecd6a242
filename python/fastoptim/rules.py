"""An update rule with its options, checked: a value.

What belongs to a rule stands in its functor (cpp/kernels/rules.hpp): name, states, options and
which values these may have. `_core.rules()` offers it; here is only what holds for every rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastoptim import _core, checks
from fastoptim.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn, Self

# The options of every rule and which values they may have, in the words of OptionKind.
SHARED = {"weight_decay": "nonnegative", "decoupled": "flag", "maximize": "flag"}

# Options that stand for two of a functor's.
PAIRS = {"betas": ("beta1", "beta2")}

NAN = float("nan")


class Variant:
    """The facts of one compiled variant: _core.RuleFacts, each read once."""

    __slots__ = ("full_name", "nonnegative_states", "options", "sources", "states")

    def __init__(self, facts: _core.RuleFacts) -> None:
        self.full_name = "_".join([facts.name, *facts.selected_by])  # as _core.Step takes it
        self.states = facts.states
        self.nonnegative_states = facts.nonnegative_states
        self.options = facts.options  # (name, kind) of each
        places = {name: (pair, place) for pair, names in PAIRS.items()
                  for place, name in enumerate(names)}
        # The option that each of them comes from, and where it stands in that if it is a pair.
        self.sources = tuple(places.get(name, (name, None)) for name, _ in facts.options)

    def warm_up(self) -> tuple[object, ...]:
        """Return the variant for _core.Step, with options that never overflow or divide by zero."""
        values = tuple(0.0 if kind == "flag" else 0.5 for _, kind in self.options)
        return _core.Rule(kernel=self.full_name, weight_decay=0.0, decoupled=False, maximize=False,
                          options=values)


class RuleFamily:
    """The compiled variants of one rule, and the options that they take together."""

    def __init__(self) -> None:
        self.variants: dict[frozenset[str], Variant] = {}  # by the options that select them
        self.selecting: set[str] = set()
        self.kinds: dict[str, str] = dict(SHARED)  # option -> which values it may have
        self.states: dict[str, None] = {}  # of all variants: an ordered set

    def add(self, facts: _core.RuleFacts) -> None:
        self.variants[frozenset(facts.selected_by)] = Variant(facts)
        self.selecting |= set(facts.selected_by)
        kinds = dict.fromkeys(facts.selected_by, "flag") | dict(facts.options)
        for pair, names in PAIRS.items():
            if kinds.keys() >= set(names):
                kinds = {pair: "pair"} | {k: v for k, v in kinds.items() if k not in names}
        self.kinds |= kinds
        self.states |= dict.fromkeys(facts.states)

    def variant(self, options: Mapping[str, object]) -> Variant:
        """Return the variant that these options select."""
        selected = [name for name in self.selecting if options.get(name)]
        return self.variants[frozenset(selected)]


def _families() -> dict[str, RuleFamily]:
    families: dict[str, RuleFamily] = {}
    for facts in _core.rules():
        families.setdefault(facts.name, RuleFamily()).add(facts)
    return families


FAMILIES = _families()


class Rule(Options):
    """A compiled rule with values for all of its options.

    Parameters
    ----------
    name : str
        What a state_dict calls the rule.
    kernel : str
        What the functor calls it, which differs where one functor serves two optimizers.
    options : mapping
        Each option of the rule, in the order in which they are shown.
    whose : str, optional
        What the message about an unknown option calls the one who takes them; `name` by default.
    others : iterable of str, optional
        Further options that this one takes, for the same message.

    Raises
    ------
    TypeError
        An option is unknown, or its value is of another kind.
    ValueError
        A value is out of range, or two options do not go together.
    """

    __slots__ = ("kernel", "name", "variant")

    name: str
    kernel: str
    variant: Variant
    weight_decay: float
    decoupled: bool
    maximize: bool

    def __init__(self, name: str, kernel: str, options: Mapping[str, Any],
                 whose: str | None = None, others: Iterable[str] = ()) -> None:
        family = FAMILIES[kernel]
        values = vars(self)
        for option in SHARED:
            values[option] = options[option]
        values.update(options)
        if not values.keys() <= family.kinds.keys():
            _refuse_unknown(values, family, whose or name, others)
        for option, kind in family.kinds.items():
            values[option] = CHECKS[kind](option, values[option])
        _check_together(values)
        keep = object.__setattr__
        keep(self, "name", name)
        keep(self, "kernel", kernel)
        keep(self, "variant", family.variant(values))

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the arrays that go with each parameter, in the kernel's order."""
        return self.variant.states

    @property
    def nonnegative_states(self) -> tuple[str, ...]:
        """Those of the states that are never negative: averages of squares, or the like."""
        return self.variant.nonnegative_states

    @property
    def kernel_options(self) -> tuple[float, ...]:
        """The values of the functor's options, in its order; NaN stands for None."""
        options = vars(self)
        values = [options[option] if place is None else options[option][place]
                  for option, place in self.variant.sources]
        return tuple(NAN if x is None else x for x in values) if None in values else tuple(values)

    def to_core(self) -> tuple[object, ...]:
        """Return the rule as _core.Step takes it."""
        return _core.Rule(kernel=self.variant.full_name, weight_decay=self.weight_decay,
                          decoupled=self.decoupled, maximize=self.maximize,
                          options=self.kernel_options)

    def is_variant_of(self, other: Rule) -> bool:
        """Return whether both take the same kernel, and so the same states."""
        return self.variant is other.variant

    def replaced(self, **changes: object) -> Self:
        return type(self)(self.name, self.kernel, self.as_dict() | changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.kernel, self.as_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.name == other.name and super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.name, super().__hash__()))

    def __repr__(self) -> str:
        return super().__repr__().replace(type(self).__name__, self.name, 1)


def _check_together(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that are right one by one but not together."""
    if options.get("dampening") is not None and options.get("bias_correction"):
        raise ValueError(
            "bias_correction must be False with dampening, since v is then no average of the "
            "gradients, got True"
        )


def _refuse_unknown(options: Iterable[str], family: RuleFamily, whose: str,
                    others: Iterable[str]) -> NoReturn:
    known = ["lr", *(option for option in options if option in family.kinds), *others]
    unknown = next(option for option in options if option not in family.kinds)
    hint = checks.suggestion(unknown, known)
    if family is FAMILIES["sgd"] and unknown in ("momentum", "nesterov", "dampening"):
        hint = "; Momentum has it" + ", as beta" * (unknown == "momentum")
    raise TypeError(f"{whose} takes the options {', '.join(known)}, got {unknown!r}{hint}")


def _fraction(name: str, value: object) -> float:
    return checks.number(name, value, below=1)


def _optional_fraction(name: str, value: object) -> float | None:
    return None if value is None else checks.number(name, value, below=1)


def _pair(name: str, values: object) -> tuple[float, float]:
    first, second = PAIRS[name]
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        hint = ": both are given, betas=(0.9, 0.999)" * isinstance(values, float)
        raise TypeError(f"{name} must be two numbers ({first}, {second}), got {values!r}{hint}")
    return (checks.number(first, values[0], below=1), checks.number(second, values[1], below=1))


# By the words of OptionKind: returns the value as the rule keeps it.
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "flag": checks.flag,
    "fraction": _fraction,
    "nonnegative": checks.number,
    "optional_fraction": _optional_fraction,
    "pair": _pair,
}
