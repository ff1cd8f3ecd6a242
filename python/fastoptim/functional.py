"""One step on arrays that the caller keeps; the trailing underscore says: in place.

Arrays may be of fewer bytes, as in Optimizer; `seed` and `rounding` are then options too. q8 is
for optimizers, which keep the scales.

A call checks its options and arrays from scratch: 15 us on 1 to 100 elements, where NumPy's own
operations take 7 and a step of an optimizer such as Adam takes 1, or 0.2 with bound gradients. On
small arrays take an optimizer; from some 10^6 elements on the difference is lost in the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastoptim import _core, checks
from fastoptim._core import repeat_step
from fastoptim.rules import FAMILIES, Rule
from fastoptim.storage import StorageOptions

if TYPE_CHECKING:
    from typing import Any, Never

    from fastoptim.types import Array, Rounding

__all__ = ["adam_", "momentum_", "rmsprop_", "sgd_"]

ROUNDING = ("seed", "rounding")  # options of storage that a single step has


# Each function's number, which the core looks a call up by, and the name of its rule.
SGD, MOMENTUM, RMSPROP, ADAM = range(4)
RULES = ("sgd", "momentum", "rmsprop", "adam")


def _step(function: int, t: int | None, options: dict[str, Any]) -> None:
    """Take step t of a rule; `options` are the locals() of the function that was called."""
    name = RULES[function]
    arrays_given = tuple(x for k, x in options.items()
                         if k in ("p", "g") or k in FAMILIES[name].states)
    take = options.pop
    p, g, lr, _ = take("p"), take("g"), take("lr"), take("t", None)
    states = {k: take(k) for k in FAMILIES[name].states}
    storage = StorageOptions(seed=take("seed"), rounding=take("rounding"))
    unknown = take("unknown")
    options_given = tuple(options.values())
    options.update(unknown)
    rule = Rule(name, name, options, f"{name}_", others=ROUNDING)
    t = checks.integer("t", t, low=1, high=checks.MAX_STEPS)
    lr = checks.number("lr", lr)
    for k, x in states.items():
        if (x is not None) != (k in rule.states):
            needed = "an array like p" if x is None else "None"
            raise ValueError(f"{k} must be {needed} with these options, got "
                             f"{'None' if x is None else 'an array'}")
    arrays = {k: x if type(x := states[k]) is np.ndarray else _core.as_array(x, k)
              for k in rule.states}
    for k in rule.nonnegative_states:
        if arrays[k].dtype.char == "e":  # float16; comparing dtypes would take 1 us
            raise TypeError(f"{k} must not be float16, in which the square of a gradient below "
                            "2e-4 is 0: bfloat16 takes no more bytes")
    tensor = _core.Tensor(parameter=p, gradient=g, states=[*arrays.values()],
                          labels=["p", "g", *arrays])
    step = _core.Step([rule.to_core()], [tensor], t - 1)
    step.set_rounding(storage.stochastic, storage.seed)
    # Before the step, since it takes memory, and a step that was taken must not raise an error.
    step.remember(function, arrays_given, options_given)
    step.run(lr, None, None)


def sgd_(p: Array, g: Array, *, lr: float = 1e-2, weight_decay: float = 0.0,
         decoupled: bool = False, maximize: bool = False, seed: int = 0,
         rounding: Rounding = "stochastic", **unknown: Never) -> None:
    """Take one step of gradient descent: p = p - lr*g.

    Parameters
    ----------
    p : array
        The parameter, updated in place: float32, float64, bfloat16 (of
        ml_dtypes) or float16, writable, of any shape, and any strides whose
        elements do not overlap.
    g : array
        The gradient, of p's shape; of p's dtype, but float32, bfloat16 and
        float16 go together.
    lr : float, default 0.01
        The learning rate, finite and >= 0.
    weight_decay : float, default 0
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default False
        Whether weight decay is applied to p itself instead of added to g.
    maximize : bool, default False
        Whether to use -g in place of g, and so to ascend.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    On small arrays `SGD` is much faster: a call takes 15 us beside its
    elements.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.sgd_(p, np.array([1.0, 1.0]), lr=0.5)
    >>> p
    array([0.5, 1.5])
    """
    if unknown or not repeat_step(SGD, 2, 1, lr, seed, rounding, p, g,
                                  weight_decay, decoupled, maximize):
        _step(SGD, 1, locals())


def momentum_(p: Array, g: Array, v: Array, *, t: int | None = None, lr: float = 1e-2,
              beta: float = 0.9, dampening: float | None = None, dampen_first: bool = True,
              nesterov: bool = False, bias_correction: bool = False, weight_decay: float = 0.0,
              decoupled: bool = False, maximize: bool = False, seed: int = 0,
              rounding: Rounding = "stochastic", **unknown: Never) -> None:
    """Take one step of Momentum on p and v. Its equations are those of `Momentum`.

    Parameters
    ----------
    p : array
        The parameter, updated in place: float32, float64, bfloat16 (of
        ml_dtypes) or float16, writable, of any shape, and any strides whose
        elements do not overlap.
    g : array
        The gradient, of p's shape; of p's dtype, but float32, bfloat16 and
        float16 go together.
    v : array
        The state, of p's shape: zero before the first step, updated in place.
    t : int, optional
        The count of this step, from 1. bias_correction and dampen_first=False
        need it.
    lr : float, default 0.01
        The learning rate, finite and >= 0.
    beta : float, default 0.9
        The weight of the past, in [0, 1).
    dampening : float, optional
        d in [0, 1) for v = beta*v + (1 - d)*g: 0 gives the classical heavy
        ball, a sum of the gradients, not an average. None (the default) gives
        the average.
    dampen_first : bool, default True
        False takes v = g in the first step, as torch.optim.SGD does, where
        there is a dampening.
    nesterov : bool, default False
        p = p - lr*(beta*v + w*g), w being the weight that g has in v.
    bias_correction : bool, default False
        lr/(1 - beta**t) in place of lr, so that the first steps are not
        shortened by the zero that v starts from; 1 - beta**(t + 1) with
        nesterov, whose look-ahead holds one gradient more. Not with dampening.
    weight_decay : float, default 0
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default False
        Whether weight decay is applied to p itself instead of added to g.
    maximize : bool, default False
        Whether to use -g in place of g, and so to ascend.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    On small arrays `Momentum` is much faster: a call takes 15 us beside its
    elements.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p, v = np.array([1.0, 2.0]), np.zeros(2)
    >>> fo.momentum_(p, np.array([1.0, 1.0]), v, lr=0.5, beta=0.5)
    >>> p, v
    (array([0.75, 1.75]), array([0.5, 0.5]))
    """
    if t is None and dampen_first and not bias_correction:
        t = 1  # any count gives the same step
    if unknown or not repeat_step(MOMENTUM, 3, t, lr, seed, rounding, p, g, v,
                                  beta, dampening, dampen_first, nesterov, bias_correction,
                                  weight_decay, decoupled, maximize):
        _step(MOMENTUM, t, locals())


def rmsprop_(p: Array, g: Array, s: Array, *, mean: Array | None = None,
             velocity: Array | None = None, t: int | None = None, lr: float = 1e-3,
             beta: float = 0.9, eps: float = 1e-8, centered: bool = False, momentum: float = 0.0,
             bias_correction: bool = False, eps_inside_sqrt: bool = False,
             weight_decay: float = 0.0, decoupled: bool = False, maximize: bool = False,
             seed: int = 0, rounding: Rounding = "stochastic", **unknown: Never) -> None:
    """Take one step of RMSProp on p and s. Its equations are those of `RMSProp`.

    Parameters
    ----------
    p : array
        The parameter, updated in place: float32, float64, bfloat16 (of
        ml_dtypes) or float16, writable, of any shape, and any strides whose
        elements do not overlap.
    g : array
        The gradient, of p's shape; of p's dtype, but float32, bfloat16 and
        float16 go together.
    s : array
        The state, of p's shape: zero before the first step, updated in place.
        Not float16, in which small squares are 0.
    mean, velocity : array, optional
        Further such states: mean goes with centered, velocity with momentum.
        They may be float16.
    t : int, optional
        The count of this step, from 1. bias_correction needs it.
    lr : float, default 0.001
        The learning rate, finite and >= 0.
    beta : float, default 0.9
        The weight of the past, in [0, 1).
    eps : float, default 1e-8
        Keeps the divisor from zero: finite, >= 0.
    centered : bool, default False
        Puts the variance s - mean**2 in place of s under the root, where
        mean = beta*mean + (1 - beta)*g. If rounding makes it negative, it
        counts as 0.
    momentum : float, default 0
        mu in [0, 1). If it is not 0, p = p - lr*velocity, where
        velocity = mu*velocity + g/(sqrt(s) + eps).
    bias_correction : bool, default False
        Puts s/(1 - beta**t) in place of s, and mean/(1 - beta**t) in place of
        mean.
    eps_inside_sqrt : bool, default False
        Puts sqrt(s + eps) in place of sqrt(s) + eps.
    weight_decay : float, default 0
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default False
        Whether weight decay is applied to p itself instead of added to g.
    maximize : bool, default False
        Whether to use -g in place of g, and so to ascend.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    On small arrays `RMSProp` is much faster: a call takes 15 us beside its
    elements.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p, s = np.array([1.0, 2.0]), np.zeros(2)
    >>> fo.rmsprop_(p, np.array([1.0, -3.0]), s, lr=0.1, beta=0.75)
    >>> p.round(6), s
    (array([0.8, 2.2]), array([0.25, 2.25]))
    """
    if t is None and not bias_correction:
        t = 1  # any count gives the same step
    if unknown or not repeat_step(RMSPROP, 5, t, lr, seed, rounding, p, g, s, mean, velocity,
                                  beta, eps, centered, momentum, bias_correction, eps_inside_sqrt,
                                  weight_decay, decoupled, maximize):
        _step(RMSPROP, t, locals())


def adam_(p: Array, g: Array, m: Array, v: Array, *, t: int, v_max: Array | None = None,
          lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
          amsgrad: bool = False, weight_decay: float = 0.0, decoupled: bool = False,
          maximize: bool = False, seed: int = 0, rounding: Rounding = "stochastic",
          **unknown: Never) -> None:
    """Take step t of Adam on p, m and v. Its equations are those of `Adam`.

    Parameters
    ----------
    p : array
        The parameter, updated in place: float32, float64, bfloat16 (of
        ml_dtypes) or float16, writable, of any shape, and any strides whose
        elements do not overlap.
    g : array
        The gradient, of p's shape; of p's dtype, but float32, bfloat16 and
        float16 go together.
    m, v : array
        The states, of p's shape: zero before the first step, updated in place.
        v not in float16, in which small squares are 0.
    t : int
        The count of this step, from 1.
    v_max : array, optional
        A further state like v, with amsgrad.
    lr : float, default 0.001
        The learning rate, finite and >= 0.
    betas : tuple of two floats, default (0.9, 0.999)
        (beta1, beta2), each in [0, 1): the weights of the past in `m` and `v`.
    eps : float, default 1e-8
        Keeps the divisor from zero: finite, >= 0.
    amsgrad : bool, default False
        Puts v_max = max(v_max, v) in place of v in the last line.
    weight_decay : float, default 0
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default False
        Whether weight decay is applied to p itself instead of added to g.
    maximize : bool, default False
        Whether to use -g in place of g, and so to ascend.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    On small arrays `Adam` is much faster: a call takes 15 us beside its
    elements.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> fo.adam_(p, np.array([0.5, -8.0]), m, v, t=1, lr=0.1)
    >>> p.round(6), m.round(6), v.round(6)
    (array([0.9, 2.1]), array([ 0.05, -0.8 ]), array([0.00025, 0.064  ]))
    """
    if unknown or not repeat_step(ADAM, 5, t, lr, seed, rounding, p, g, m, v, v_max,
                                  betas, eps, amsgrad, weight_decay, decoupled, maximize):
        _step(ADAM, t, locals())
