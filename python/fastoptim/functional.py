"""One step on arrays that the caller keeps; the trailing underscore says: in place.

Arrays may be of fewer bytes, as in Optimizer; `seed` and `rounding` are then options too. q8 is
for optimizers, which keep the scales.

A call checks its options and arrays from scratch: 15 us on 1 to 100 elements, where NumPy's own
operations take 7 and a step of an optimizer such as Adam takes 1, or 0.2 with bound gradients. On
small arrays take an optimizer; from some 10^6 elements on the difference is lost in the step.
"""

import numpy as np

from fastoptim import _core, checks
from fastoptim.rules import AdamRule, MomentumRule, RMSPropRule, Rule, SGDRule, make_rule
from fastoptim.storage import StorageOptions

__all__ = ["adam_", "momentum_", "rmsprop_", "sgd_"]

ROUNDING = ("seed", "rounding")  # options of storage that a single step has


def _step(kind: type[Rule], p, g, states: dict, t: int, lr: float, options: dict) -> None:
    rounding = {name: options.pop(name) for name in ROUNDING if name in options}
    storage = StorageOptions(**rounding)
    rule = make_rule(kind, options, f"{kind.name}_", others=ROUNDING)
    t = checks.integer("t", t, low=1, high=checks.MAX_STEPS)
    lr = checks.number("lr", lr)
    for name, x in states.items():
        if (x is not None) != (name in rule.states):
            needed = "an array like p" if x is None else "None"
            raise ValueError(f"{name} must be {needed} with these options, got "
                             f"{'None' if x is None else 'an array'}")
    states = {name: _core.as_array(x, name) for name, x in states.items() if x is not None}
    for name in rule.squares:
        if name in states and states[name].dtype == np.float16:
            raise TypeError(f"{name} must not be float16, in which the square of a gradient below "
                            "2e-4 is 0: bfloat16 takes no more bytes")
    tensor = _core.Tensor(parameter=p, gradient=g, states=list(states.values()),
                          labels=["p", "g", *states])
    step = _core.Step([rule.to_core()], [tensor], t - 1)
    step.set_rounding(storage.stochastic, storage.seed)
    step.run(lr, None, None)


def sgd_(p, g, *, lr=SGDRule.lr, **options) -> None:
    """One step of gradient descent: p = p - lr*g. Options and errors as in SGD.

    On small arrays SGD is much faster: a call takes 15 us beside its elements.

    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.sgd_(p, np.array([1.0, 1.0]), lr=0.5)
    >>> p
    array([0.5, 1.5])
    """
    _step(SGDRule, p, g, {}, 1, lr, options)


def momentum_(p, g, v, *, t=None, lr=MomentumRule.lr, **options) -> None:
    """One step of Momentum on p and v. Equations, options and errors as in Momentum.

    t counts steps from 1; bias_correction and dampen_first=False need it.

    On small arrays Momentum is much faster: a call takes 15 us beside its elements.

    >>> import numpy as np, fastoptim as fo
    >>> p, v = np.array([1.0, 2.0]), np.zeros(2)
    >>> fo.momentum_(p, np.array([1.0, 1.0]), v, lr=0.5, beta=0.5)
    >>> p, v
    (array([0.75, 1.75]), array([0.5, 0.5]))
    """
    needs_t = options.get("bias_correction") or not options.get("dampen_first", True)
    t = t if t is not None or needs_t else 1
    _step(MomentumRule, p, g, {"v": v}, t, lr, options)


def rmsprop_(p, g, s, *, mean=None, velocity=None, t=None, lr=RMSPropRule.lr, **options) -> None:
    """One step of RMSProp on p and s. Equations, options and errors as in RMSProp.

    mean goes with centered=True, velocity with momentum > 0; t, counted from 1, with
    bias_correction=True.

    On small arrays RMSProp is much faster: a call takes 15 us beside its elements.

    >>> import numpy as np, fastoptim as fo
    >>> p, s = np.array([1.0, 2.0]), np.zeros(2)
    >>> fo.rmsprop_(p, np.array([1.0, -3.0]), s, lr=0.1, beta=0.75)
    >>> p.round(6), s
    (array([0.8, 2.2]), array([0.25, 2.25]))
    """
    t = t if t is not None or options.get("bias_correction") else 1
    _step(RMSPropRule, p, g, {"s": s, "mean": mean, "velocity": velocity}, t, lr, options)


def adam_(p, g, m, v, *, t, v_max=None, lr=AdamRule.lr, **options) -> None:
    """Step t, counted from 1, of Adam on p, m and v. Equations, options, errors as in Adam.

    v_max goes with amsgrad=True.

    On small arrays Adam is much faster: a call takes 15 us beside its elements.

    >>> import numpy as np, fastoptim as fo
    >>> p, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> fo.adam_(p, np.array([0.5, -8.0]), m, v, t=1, lr=0.1)
    >>> p.round(6), m.round(6), v.round(6)
    (array([0.9, 2.1]), array([ 0.05, -0.8 ]), array([0.00025, 0.064  ]))
    """
    _step(AdamRule, p, g, {"m": m, "v": v, "v_max": v_max}, t, lr, options)
