"""The update rules as values: checked options, and what goes with them.

A rule knows no arrays and does no arithmetic. It says which compiled kernel it takes and which
states a parameter needs, and hands over its options in the order in which
cpp/kernels/rules.hpp reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from fastoptim import checks


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What all rules have: weight decay, coupled (L2) or decoupled, and the direction."""

    name: ClassVar[str]
    lr: ClassVar[float]  # the default

    weight_decay: float = 0.0
    decoupled: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._set("weight_decay", checks.number("weight_decay", self.weight_decay))
        checks.flag("decoupled", self.decoupled)
        checks.flag("maximize", self.maximize)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def kernel(self) -> str:
        """The compiled kernel's name."""
        return self.name

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the arrays that go with each parameter."""
        return ()

    @property
    def squares(self) -> tuple[str, ...]:
        """Those of the states that are never negative."""
        return ()

    @property
    def own_options(self) -> tuple[float, ...]:
        """What the kernel's coefficients are made of, beside what all rules have."""
        return ()

    @property
    def compiled(self) -> tuple:
        """The rule as the core takes it."""
        return (self.kernel, self.weight_decay, self.decoupled, self.maximize, self.own_options)


@dataclass(frozen=True, kw_only=True)
class SGDRule(Rule):
    name = "sgd"
    lr = 1e-2


@dataclass(frozen=True, kw_only=True)
class MomentumRule(Rule):
    name = "momentum"
    lr = 1e-2

    beta: float = 0.9
    dampening: float | None = None
    dampen_first: bool = True
    nesterov: bool = False
    bias_correction: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("beta", checks.number("beta", self.beta, below=1))
        if self.dampening is not None:
            self._set("dampening", checks.number("dampening", self.dampening, below=1))
        for name in ("dampen_first", "nesterov", "bias_correction"):
            checks.flag(name, getattr(self, name))
        if self.dampening is not None and self.bias_correction:
            raise ValueError(
                "bias_correction must be False with dampening, since v is then no average of the "
                "gradients, got True"
            )

    @property
    def kernel(self) -> str:
        return "nesterov" if self.nesterov else "momentum"

    @property
    def states(self) -> tuple[str, ...]:
        return ("v",)

    @property
    def own_options(self) -> tuple[float, ...]:
        weight = 1 - (self.beta if self.dampening is None else self.dampening)
        first = weight if self.dampening is None or self.dampen_first else 1.0
        return (self.beta, weight, first, self.bias_correction)


@dataclass(frozen=True, kw_only=True)
class RMSPropRule(Rule):
    name = "rmsprop"
    lr = 1e-3

    beta: float = 0.9
    eps: float = 1e-8
    centered: bool = False
    momentum: float = 0.0
    bias_correction: bool = False
    eps_inside_sqrt: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("beta", checks.number("beta", self.beta, below=1))
        self._set("eps", checks.number("eps", self.eps))
        self._set("momentum", checks.number("momentum", self.momentum, below=1))
        for name in ("centered", "bias_correction", "eps_inside_sqrt"):
            checks.flag(name, getattr(self, name))

    @property
    def kernel(self) -> str:
        return "rmsprop" + "_centered" * self.centered + "_momentum" * (self.momentum > 0)

    @property
    def states(self) -> tuple[str, ...]:
        return ("s",) + ("mean",) * self.centered + ("velocity",) * (self.momentum > 0)

    @property
    def squares(self) -> tuple[str, ...]:
        return ("s",)

    @property
    def own_options(self) -> tuple[float, ...]:
        return (self.beta, self.eps, self.momentum, self.bias_correction, self.eps_inside_sqrt)


@dataclass(frozen=True, kw_only=True)
class AdamRule(Rule):
    name = "adam"
    lr = 1e-3

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"betas must be two numbers (beta1, beta2), got {self.betas!r}")
        beta1, beta2 = self.betas
        self._set(
            "betas",
            (checks.number("beta1", beta1, below=1), checks.number("beta2", beta2, below=1)),
        )
        self._set("eps", checks.number("eps", self.eps))
        checks.flag("amsgrad", self.amsgrad)

    @property
    def kernel(self) -> str:
        return "adam_amsgrad" if self.amsgrad else "adam"

    @property
    def states(self) -> tuple[str, ...]:
        return ("m", "v") + ("v_max",) * self.amsgrad

    @property
    def squares(self) -> tuple[str, ...]:
        return ("v", "v_max")

    @property
    def own_options(self) -> tuple[float, ...]:
        return (*self.betas, self.eps)


@dataclass(frozen=True, kw_only=True)
class AdamWRule(AdamRule):
    name = "adamw"

    weight_decay: float = 1e-2
    decoupled: bool = True


def option_names(kind) -> list[str]:
    """The names of the options that a dataclass of options, or one of its values, has."""
    return [field.name for field in fields(kind)]


def make_rule(kind: type[Rule], options: Mapping[str, object]) -> Rule:
    """The rule with these options; TypeError names those that there are."""
    known = option_names(kind)
    for name in options:
        if name not in known:
            raise TypeError(f"{kind.name} takes the options lr, {', '.join(known)}, "
                            f"got {name!r}")
    return kind(**options)
