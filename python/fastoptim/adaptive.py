"""Adaptive methods: a learning rate of its own for each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastoptim.attributes import Option
from fastoptim.optimizer import Optimizer, options_of

if TYPE_CHECKING:
    from typing import Never

    from fastoptim.types import Grads, Params, Rounding, Schedule, StateDtype

__all__ = ["Adam", "AdamW", "RMSProp"]


class RMSProp(Optimizer):
    r"""RMSProp: divides each gradient by the root of its recent mean square.

    .. math::

        s &\leftarrow \beta s + (1 - \beta) g^2 \\
        p &\leftarrow p - \mathrm{lr} \cdot g / (\sqrt{s} + \epsilon)

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
    lr : float or callable, default 0.001
        The learning rate, finite and >= 0, or a schedule: a callable from the
        step, which counts from 0, to the rate.
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
    The states of a parameter are `s`, `mean` if centered, and `velocity` with
    momentum; zero at first.

    In NumPy, to the byte (`fastoptim.reference.rmsprop`)::

        s = beta*s + (1 - beta)*(g*g)
        p = p - lr*g / (np.sqrt(s) + eps)

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks
    for Machine Learning, 2012.

    A. Graves, "Generating sequences with recurrent neural networks", 2013,
    equations 38 to 41, for the centered form.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.RMSProp(p, lr=0.1, beta=0.75).step(np.array([1.0, -3.0]))
    >>> p.round(6)
    array([0.8, 2.2])
    """

    rule = _kernel = "rmsprop"

    beta = Option[float]()
    eps = Option[float]()
    centered = Option[bool]()
    momentum = Option[float]()
    bias_correction = Option[bool]()
    eps_inside_sqrt = Option[bool]()

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule = 1e-3,
                 beta: float = 0.9, eps: float = 1e-8, centered: bool = False,
                 momentum: float = 0.0, bias_correction: bool = False,
                 eps_inside_sqrt: bool = False, weight_decay: float = 0.0, decoupled: bool = False,
                 maximize: bool = False, state_dtype: StateDtype | None = None, seed: int = 0,
                 rounding: Rounding = "stochastic", master: bool = False,
                 uint16_is_bfloat16: bool = False, **unknown: Never) -> None:
        super().__init__(params, grads, **options_of(locals()))


class Adam(Optimizer):
    r"""Adam: momentum over RMSProp's scaling, both corrected for bias.

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        p &\leftarrow p - \mathrm{lr} \cdot \frac{m / (1 - \beta_1^t)}
            {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

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
    lr : float or callable, default 0.001
        The learning rate, finite and >= 0, or a schedule: a callable from the
        step, which counts from 0, to the rate.
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
    The states of a parameter are `m` and `v`, and `v_max` with amsgrad; zero at
    first.

    In NumPy, to the byte (`fastoptim.reference.adam`), where what is made of
    options alone is a Python float::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*(g*g)
        p = p - lr/(1 - beta1**t)*m / (
            np.sqrt(v)*(1/math.sqrt(1 - beta2**t)) + eps)

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR
    2015, algorithm 1.

    S. J. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond",
    ICLR 2018, algorithm 2, for AMSGrad, whose maximum is taken before the bias
    correction here.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> fo.Adam(p, lr=0.1).step(np.array([0.5, -8.0]))
    >>> p.round(6)
    array([0.9, 2.1])
    """

    rule = _kernel = "adam"

    betas = Option[tuple[float, float]]()
    eps = Option[float]()
    amsgrad = Option[bool]()

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 amsgrad: bool = False, weight_decay: float = 0.0, decoupled: bool = False,
                 maximize: bool = False, state_dtype: StateDtype | None = None, seed: int = 0,
                 rounding: Rounding = "stochastic", master: bool = False,
                 uint16_is_bfloat16: bool = False, **unknown: Never) -> None:
        super().__init__(params, grads, **options_of(locals()))


class AdamW(Optimizer):
    r"""Adam with decoupled weight decay.

    .. math::

        p &\leftarrow p (1 - \mathrm{lr} \cdot \lambda) \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        p &\leftarrow p - \mathrm{lr} \cdot \frac{m / (1 - \beta_1^t)}
            {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    where :math:`\lambda` is the weight decay. It is
    ``Adam(..., weight_decay=0.01, decoupled=True)``.

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
    lr : float or callable, default 0.001
        The learning rate, finite and >= 0, or a schedule: a callable from the
        step, which counts from 0, to the rate.
    betas : tuple of two floats, default (0.9, 0.999)
        (beta1, beta2), each in [0, 1): the weights of the past in `m` and `v`.
    eps : float, default 1e-8
        Keeps the divisor from zero: finite, >= 0.
    amsgrad : bool, default False
        Puts v_max = max(v_max, v) in place of v in the last line.
    weight_decay : float, default 0.01
        Finite, >= 0. Adds weight_decay*p to g (L2) or, if decoupled, multiplies
        p by 1 - lr*weight_decay first.
    decoupled : bool, default True
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
    The states of a parameter are `m` and `v`, and `v_max` with amsgrad; zero at
    first.

    In NumPy, to the byte (`fastoptim.reference.adamw`)::

        p = p*(1 - lr*weight_decay)
        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*(g*g)
        p = p - lr/(1 - beta1**t)*m / (
            np.sqrt(v)*(1/math.sqrt(1 - beta2**t)) + eps)

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR
    2019, algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.array([1.0, 2.0])
    >>> opt = fo.AdamW(p, lr=0.1, weight_decay=0.5)
    >>> opt.step(np.array([0.5, -8.0]))
    >>> p.round(6)
    array([0.85, 2.  ])
    """

    rule = "adamw"
    _kernel = "adam"

    betas = Option[tuple[float, float]]()
    eps = Option[float]()
    amsgrad = Option[bool]()

    def __init__(self, params: Params, grads: Grads | None = None, *, lr: float | Schedule = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 amsgrad: bool = False, weight_decay: float = 1e-2, decoupled: bool = True,
                 maximize: bool = False, state_dtype: StateDtype | None = None, seed: int = 0,
                 rounding: Rounding = "stochastic", master: bool = False,
                 uint16_is_bfloat16: bool = False, **unknown: Never) -> None:
        super().__init__(params, grads, **options_of(locals()))
