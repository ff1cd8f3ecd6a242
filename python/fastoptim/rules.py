"""The update rules as values: checked options, and what goes with them.

A rule knows no arrays and does no arithmetic. It says which compiled kernel it takes and which
states a parameter needs, and hands over its options in the order in which
cpp/kernels/rules.hpp reads them.
"""

from collections.abc import Iterable, Mapping

from fastoptim import _core, checks
from fastoptim.options import Options


class Rule(Options):
    """What all rules have: weight decay, coupled (L2) or decoupled, and the direction."""

    name: str
    lr: float  # the default
    defaults = {"weight_decay": 0.0, "decoupled": False, "maximize": False}

    def _check(self) -> None:
        self._number("weight_decay")
        self._flags("decoupled", "maximize")

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

    def to_core(self) -> tuple:
        """The rule as the core takes it."""
        return _core.Rule(kernel=self.kernel, weight_decay=self.weight_decay,
                          decoupled=self.decoupled, maximize=self.maximize,
                          options=self.own_options)


class SGDRule(Rule):
    name = "sgd"
    lr = 1e-2


class MomentumRule(Rule):
    name = "momentum"
    lr = 1e-2
    defaults = Rule.defaults | {
        "beta": 0.9,
        "dampening": None,
        "dampen_first": True,
        "nesterov": False,
        "bias_correction": False,
    }

    def _check(self) -> None:
        super()._check()
        self._number("beta", below=1)
        if self.dampening is not None:
            self._number("dampening", below=1)
        self._flags("dampen_first", "nesterov", "bias_correction")
        if self.dampening is not None and self.bias_correction:
            raise ValueError(
                "bias_correction must be False with dampening, since v is then no average of the "
                "gradients, got True"
            )

    @property
    def kernel(self) -> str:
        return "momentum" + "_nesterov" * self.nesterov

    @property
    def states(self) -> tuple[str, ...]:
        return ("v",)

    @property
    def own_options(self) -> tuple[float, ...]:
        dampening = float("nan") if self.dampening is None else self.dampening
        return (self.beta, dampening, self.dampen_first, self.bias_correction)


class RMSPropRule(Rule):
    name = "rmsprop"
    lr = 1e-3
    defaults = Rule.defaults | {
        "beta": 0.9,
        "eps": 1e-8,
        "centered": False,
        "momentum": 0.0,
        "bias_correction": False,
        "eps_inside_sqrt": False,
    }

    def _check(self) -> None:
        super()._check()
        self._number("beta", below=1)
        self._number("eps")
        self._number("momentum", below=1)
        self._flags("centered", "bias_correction", "eps_inside_sqrt")

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


class AdamRule(Rule):
    name = "adam"
    lr = 1e-3
    defaults = Rule.defaults | {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            hint = ": both are given, betas=(0.9, 0.999)" * isinstance(self.betas, float)
            raise TypeError("betas must be two numbers (beta1, beta2), got "
                            f"{self.betas!r}{hint}")
        beta1, beta2 = self.betas
        self._set(
            "betas",
            (checks.number("beta1", beta1, below=1), checks.number("beta2", beta2, below=1)),
        )
        self._number("eps")
        self._flags("amsgrad")

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


class AdamWRule(AdamRule):
    name = "adamw"
    defaults = AdamRule.defaults | {"weight_decay": 1e-2, "decoupled": True}


def make_rule(kind: type[Rule], options: Mapping[str, object], whose: str | None = None,
              others: Iterable[str] = ()) -> Rule:
    """The rule with these options; TypeError names those that there are.

    whose: who takes them, for that message, and `others` beside them, not in `options`.
    """
    for name in options:
        if name not in kind.defaults:
            known = ["lr", *kind.defaults, *others]
            hint = checks.suggestion(name, known)
            if kind is SGDRule and name in ("momentum", "nesterov", "dampening"):
                hint = "; Momentum has it" + ", as beta" * (name == "momentum")
            raise TypeError(f"{whose or kind.name} takes the options {', '.join(known)}, "
                            f"got {name!r}{hint}")
    return kind(**options)
