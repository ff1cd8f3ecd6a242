"""An update rule with its options, checked: a value.

What belongs to a rule stands in its functor (cpp/kernels/rules.hpp): name, states, options and
which values these may have. `_core.rules()` offers it; here is only what holds for every rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastoptim import _core, checks
from fastoptim.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Self

# The options of every rule and which values they may have, in the words of OptionKind.
SHARED = {"weight_decay": "nonnegative", "decoupled": "flag", "maximize": "flag"}

# Options that stand for two of a functor's.
PAIRS = {"betas": ("beta1", "beta2")}


class RuleFamily:
    """The compiled variants of one rule, and the options that they take together."""

    def __init__(self) -> None:
        self.variants: dict[frozenset[str], _core.RuleFacts] = {}  # by what selects them
        self.selecting: set[str] = set()  # the options that select a variant
        self.kinds: dict[str, str] = {}  # option -> which values it may have
        self.states: set[str] = set()

    def add(self, facts: _core.RuleFacts) -> None:
        self.variants[frozenset(facts.selected_by)] = facts
        self.selecting |= set(facts.selected_by)
        kinds = dict.fromkeys(facts.selected_by, "flag") | dict(facts.options)
        for pair, names in PAIRS.items():
            if kinds.keys() >= set(names):
                kinds = {pair: "pair"} | {k: v for k, v in kinds.items() if k not in names}
        self.kinds |= kinds
        self.states |= set(facts.states)

    def variant(self, options: Mapping[str, object]) -> _core.RuleFacts:
        """Return the facts of the variant that these options select."""
        return self.variants[frozenset(name for name in self.selecting if options.get(name))]


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

    __slots__ = ("facts", "kernel", "name")

    name: str
    kernel: str
    facts: _core.RuleFacts
    weight_decay: float
    decoupled: bool
    maximize: bool

    def __init__(self, name: str, kernel: str, options: Mapping[str, object],
                 whose: str | None = None, others: Iterable[str] = ()) -> None:
        family = FAMILIES[kernel]
        kinds = SHARED | family.kinds
        own = {option: options[option] for option in SHARED} | dict(options)
        for option in own:
            if option not in kinds:
                known = ["lr", *(other for other in own if other in kinds), *others]
                hint = checks.suggestion(option, known)
                if name == "sgd" and option in ("momentum", "nesterov", "dampening"):
                    hint = "; Momentum has it" + ", as beta" * (option == "momentum")
                raise TypeError(f"{whose or name} takes the options {', '.join(known)}, "
                                f"got {option!r}{hint}")
        vars(self).update(own)
        for option, kind in kinds.items():
            if option in own:
                self._check_option(option, kind)
        self._check_together()
        for attribute, value in (("name", name), ("kernel", kernel),
                                 ("facts", family.variant(own))):
            object.__setattr__(self, attribute, value)

    def _check_option(self, option: str, kind: str) -> None:
        if kind == "flag":
            self._flags(option)
        elif kind == "nonnegative":
            self._number(option)
        elif kind == "pair":
            self._set(option, _pair(option, getattr(self, option)))
        elif kind == "fraction" or getattr(self, option) is not None:
            self._number(option, below=1)

    def _check_together(self) -> None:
        """Raise ValueError for options that are right one by one but not together."""
        options = vars(self)
        if options.get("dampening") is not None and options.get("bias_correction"):
            raise ValueError(
                "bias_correction must be False with dampening, since v is then no average of the "
                "gradients, got True"
            )

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the arrays that go with each parameter, in the kernel's order."""
        return self.facts.states

    @property
    def nonnegative_states(self) -> tuple[str, ...]:
        """Those of the states that are never negative: averages of squares, or the like."""
        return self.facts.nonnegative_states

    @property
    def kernel_options(self) -> dict[str, float]:
        """The functor's options, in its order; NaN stands for None."""
        values = vars(self).copy()
        for pair, names in PAIRS.items():
            if pair in values:
                values |= zip(names, values[pair])
        return {name: float("nan") if values[name] is None else float(values[name])
                for name, _ in self.facts.options}

    def to_core(self) -> tuple[object, ...]:
        """Return the rule as _core.Step takes it."""
        options = self.kernel_options
        return (full_name(self.facts), self.weight_decay, self.decoupled, self.maximize,
                tuple(options.values()), tuple(options))

    def is_variant_of(self, other: Rule) -> bool:
        """Return whether both take the same kernel, and so the same states."""
        return full_name(self.facts) == full_name(other.facts)

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


def full_name(facts: _core.RuleFacts) -> str:
    """Return the name of a compiled variant, "rmsprop_centered" say, as _core.Step takes it."""
    return "_".join([facts.name, *facts.selected_by])


def warm_up_of(facts: _core.RuleFacts) -> tuple[object, ...]:
    """Return the variant for _core.Step, with options that never overflow or divide by zero."""
    return (full_name(facts), 0.0, False, False,
            tuple(0.0 if kind == "flag" else 0.5 for _, kind in facts.options),
            tuple(name for name, _ in facts.options))


def _pair(name: str, values: object) -> tuple[float, float]:
    first, second = PAIRS[name]
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        hint = ": both are given, betas=(0.9, 0.999)" * isinstance(values, float)
        raise TypeError(f"{name} must be two numbers ({first}, {second}), got {values!r}{hint}")
    return (checks.number(first, values[0], below=1), checks.number(second, values[1], below=1))
