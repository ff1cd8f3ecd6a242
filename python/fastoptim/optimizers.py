"""The optimizers: a rule each, with its equations, options and source.

Each shows the lines of its NumPy version, which a test types in: a step gives their bytes.
"""

from fastoptim.optimizer import Optimizer
from fastoptim.rules import AdamRule, AdamWRule, MomentumRule, RMSPropRule, SGDRule

__all__ = ["SGD", "Adam", "AdamW", "Momentum", "RMSProp"]


class SGD(Optimizer):
    """Gradient descent: stochastic, mini-batch or batch, as the gradients are.

    In NumPy, to the byte (fastoptim.reference.sgd):

        p = p - lr*g

    Options:
        lr: 0.01 by default.
        weight_decay, decoupled: weight_decay*p is added to g (L2), or, decoupled,
            p = p*(1 - lr*weight_decay) comes first.
        maximize: g = -g first of all.

    See Optimizer for params, grads and errors.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.array([1.0, 2.0])
        >>> fo.SGD(p, lr=0.5).step(np.array([1.0, 1.0]))
        >>> p
        array([0.5, 1.5])

    Source: Robbins & Monro, "A stochastic approximation method", 1951.
    """

    Rule = SGDRule


class Momentum(Optimizer):
    """Gradient descent with momentum: steps along a moving average of the gradients.

    In NumPy, to the byte (fastoptim.reference.momentum):

        v = beta*v + (1 - beta)*g
        p = p - lr*v

    State: `v`, zero at first.

    Options:
        lr: 0.01 by default.
        beta: weight of the past, in [0, 1).
        bias_correction: lr/(1 - beta**t) in place of lr, so that the first steps are not
            shortened by the zero that v starts from; 1 - beta**(t + 1) with nesterov, whose
            look-ahead holds one gradient more.
        dampening: d in v = beta*v + (1 - d)*g. 0 gives the classical heavy ball, a sum of the
            gradients, not an average. None (the average) by default.
        dampen_first: False takes v = g in the first step, as torch.optim.SGD does.
        nesterov: p = p - lr*(beta*v + w*g), w being the weight that g has in v.
        weight_decay, decoupled, maximize: as in SGD.

    See Optimizer for params, grads and errors.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.array([1.0, 2.0])
        >>> fo.Momentum(p, lr=0.5, beta=0.5).step(np.array([1.0, 1.0]))
        >>> p
        array([0.75, 1.75])

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013,
    section 2, for Nesterov's variant.
    """

    Rule = MomentumRule


class RMSProp(Optimizer):
    """RMSProp: divides each gradient by the root of its recent mean square.

    In NumPy, to the byte (fastoptim.reference.rmsprop):

        s = beta*s + (1 - beta)*(g*g)
        p = p - lr*g / (np.sqrt(s) + eps)

    States: `s`; `mean` if centered; `velocity` with momentum. Zero at first.

    Options:
        lr: 0.001 by default.
        beta: weight of the past, in [0, 1).
        eps: keeps the divisor from zero.
        centered: mean = beta*mean + (1 - beta)*g, and s - mean**2, the variance, stands in place
            of s under the root. Where rounding makes it negative, it counts as 0.
        momentum: mu > 0 adds velocity = mu*velocity + g/(sqrt(s) + eps); p = p - lr*velocity.
        bias_correction: s/(1 - beta**t) in place of s, and mean/(1 - beta**t) of mean.
        eps_inside_sqrt: sqrt(s + eps) in place of sqrt(s) + eps.
        weight_decay, decoupled, maximize: as in SGD.

    See Optimizer for params, grads and errors.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.array([1.0, 2.0])
        >>> fo.RMSProp(p, lr=0.1, beta=0.75).step(np.array([1.0, -3.0]))
        >>> p.round(6)
        array([0.8, 2.2])

    Source: Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; Graves, "Generating sequences with
    recurrent neural networks", 2013, equations 38 to 41, for the centered form.
    """

    Rule = RMSPropRule


class Adam(Optimizer):
    """Adam: momentum over RMSProp's scaling, both corrected for their start at zero.

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p = p - lr * m/(1 - beta1**t) / (sqrt(v/(1 - beta2**t)) + eps)

    In NumPy, to the byte (fastoptim.reference.adam), where what is made of options alone is a
    Python float:

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*(g*g)
        p = p - lr/(1 - beta1**t)*m / (np.sqrt(v)*(1/math.sqrt(1 - beta2**t)) + eps)

    States: `m`, `v`; `v_max` with amsgrad. Zero at first.

    Options:
        lr: 0.001 by default.
        betas: (beta1, beta2), each in [0, 1).
        eps: keeps the divisor from zero.
        amsgrad: v_max = max(v_max, v) stands in place of v in the last line.
        weight_decay, decoupled, maximize: as in SGD.

    See Optimizer for params, grads and errors.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.array([1.0, 2.0])
        >>> fo.Adam(p, lr=0.1).step(np.array([0.5, -8.0]))
        >>> p.round(6)
        array([0.9, 2.1])

    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; Reddi,
    Kale & Kumar, "On the convergence of Adam and beyond", 2018, algorithm 2, for AMSGrad, whose
    maximum is taken before the bias correction here.
    """

    Rule = AdamRule


class AdamW(Optimizer):
    """Adam with decoupled weight decay: `Adam(..., weight_decay=0.01, decoupled=True)`.

    In NumPy, to the byte (fastoptim.reference.adamw):

        p = p*(1 - lr*weight_decay)
        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*(g*g)
        p = p - lr/(1 - beta1**t)*m / (np.sqrt(v)*(1/math.sqrt(1 - beta2**t)) + eps)

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.array([1.0, 2.0])
        >>> fo.AdamW(p, lr=0.1, weight_decay=0.5).step(np.array([0.5, -8.0]))
        >>> p.round(6)
        array([0.85, 2.  ])

    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    Rule = AdamWRule
