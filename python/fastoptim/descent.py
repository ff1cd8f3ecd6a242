"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastoptim.attributes import Option
from fastoptim.optimizer import Optimizer, options_of

if TYPE_CHECKING:
    from typing import Never

    from fastoptim.types import Grads, Params, Rounding, Schedule, StateDtype

__all__ = ["SGD", "Momentum"]


class SGD(Optimizer):
    r"""Gradient descent: stochastic, mini-batch or batch, as the gradients are.

    .. math:: p \leftarrow p - \mathrm{lr} \cdot g

    Parameters
    ----------
    params : array, sequence or mapping of arrays, or list of groups
        What is updated, in place: float32, float64, bfloat16 (of ml_dtypes) or
        float16, writable, of any shape, and any strides whose elements do not
        overlap. NumPy arrays, or anything with the buffer protocol or DLPack on
        the CPU. Groups are mappings ``{"params": ..., "lr": ..., ...}`` with
        options of their own. A step refuses a mapping or list in which another
        array was put in the place of one of these.
    grads : array, sequence or mapping of arrays, optional
        Gradients to bind, by name for a mapping, else in the parameters' order.
        `step()` then takes nothing: write new gradients into these arrays.
    lr : float or callable, default 0.01
        The learning rate, finite and >= 0, or a schedule: a callable from the
        step, which counts from 0, to the rate.
    weight_decay : float, default 0
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default False
        Whether weight decay is applied to p itself instead of added to g.
    maximize : bool, default False
        Whether to use -g in place of g, and so to ascend.
    state_dtype : {"float32", "bfloat16", "float16", "q8"}, optional
        How states are stored; "q8" is 8 bits and a scale for each 128. By
        default in what the rule computes in: float64 for float64 parameters,
        float32 for all others.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.
    master : bool, default False
        Keep a float32 copy of each bfloat16 or float16 parameter, and update
        that; the parameter is its rounded copy.
    uint16_is_bfloat16 : bool, default False
        Take uint16 arrays as the bits of bfloat16.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    In NumPy, to the byte (`fastoptim.reference.sgd`)::

        p = p - lr*g

    References
    ----------
    H. Robbins and S. Monro, "A stochastic approximation method", Annals of
    Mathematical Statistics, 1951.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.SGD(p, lr=0.5).step(np.array([1.0, 1.0]))
    >>> p
    array([0.5, 1.5])
    """

    rule = _kernel = "sgd"

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule = 1e-2,
                 weight_decay: float = 0.0, decoupled: bool = False, maximize: bool = False,
                 state_dtype: StateDtype | None = None, seed: int = 0,
                 rounding: Rounding = "stochastic", master: bool = False,
                 uint16_is_bfloat16: bool = False, **unknown: Never) -> None:
        super().__init__(params, grads, **options_of(locals()))


class Momentum(Optimizer):
    r"""Gradient descent with momentum: steps along a moving average of gradients.

    .. math::

        v &\leftarrow \beta v + (1 - \beta) g \\
        p &\leftarrow p - \mathrm{lr} \cdot v

    Parameters
    ----------
    params : array, sequence or mapping of arrays, or list of groups
        What is updated, in place: float32, float64, bfloat16 (of ml_dtypes) or
        float16, writable, of any shape, and any strides whose elements do not
        overlap. NumPy arrays, or anything with the buffer protocol or DLPack on
        the CPU. Groups are mappings ``{"params": ..., "lr": ..., ...}`` with
        options of their own. A step refuses a mapping or list in which another
        array was put in the place of one of these.
    grads : array, sequence or mapping of arrays, optional
        Gradients to bind, by name for a mapping, else in the parameters' order.
        `step()` then takes nothing: write new gradients into these arrays.
    lr : float or callable, default 0.01
        The learning rate, finite and >= 0, or a schedule: a callable from the
        step, which counts from 0, to the rate.
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
    state_dtype : {"float32", "bfloat16", "float16", "q8"}, optional
        How states are stored; "q8" is 8 bits and a scale for each 128. By
        default in what the rule computes in: float64 for float64 parameters,
        float32 for all others.
    seed : int, default 0
        The seed of stochastic rounding, in [0, 2**64).
    rounding : {"stochastic", "nearest"}, default "stochastic"
        How what is stored in fewer bytes is rounded. Stochastic rounding goes
        up or down at random, with the value as the mean.
    master : bool, default False
        Keep a float32 copy of each bfloat16 or float16 parameter, and update
        that; the parameter is its rounded copy.
    uint16_is_bfloat16 : bool, default False
        Take uint16 arrays as the bits of bfloat16.

    Raises
    ------
    TypeError
        An array or an option is of a kind that is not taken, or there is no
        such option.
    ValueError
        A shape, a value or a combination of options is not one that is taken.

    Notes
    -----
    The state of a parameter is `v`, zero at first.

    In NumPy, to the byte (`fastoptim.reference.momentum`)::

        v = beta*v + (1 - beta)*g
        p = p - lr*v

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration
    methods", USSR Computational Mathematics and Mathematical Physics, 1964.

    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of
    initialization and momentum in deep learning", ICML 2013, section 2, for
    Nesterov's variant.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.Momentum(p, lr=0.5, beta=0.5).step(np.array([1.0, 1.0]))
    >>> p
    array([0.75, 1.75])
    """

    rule = _kernel = "momentum"

    beta = Option[float]()
    dampening = Option["float | None"]()
    dampen_first = Option[bool]()
    nesterov = Option[bool]()
    bias_correction = Option[bool]()

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule = 1e-2,
                 beta: float = 0.9, dampening: float | None = None, dampen_first: bool = True,
                 nesterov: bool = False, bias_correction: bool = False, weight_decay: float = 0.0,
                 decoupled: bool = False, maximize: bool = False,
                 state_dtype: StateDtype | None = None, seed: int = 0,
                 rounding: Rounding = "stochastic", master: bool = False,
                 uint16_is_bfloat16: bool = False, **unknown: Never) -> None:
        super().__init__(params, grads, **options_of(locals()))
