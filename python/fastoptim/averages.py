"""Moving averages of series."""

import numpy as np

from fastoptim import _core, checks

__all__ = ["ewma"]


def ewma(x, beta=0.9, *, bias_correction=True, axis=0, out=None):
    """Exponentially weighted moving average of a series, or of many at once.

        v_0 = 0
        v_t = beta*v_{t-1} + (1 - beta)*x_t
        y_t = v_t / (1 - beta**t)          with bias correction, else y_t = v_t

    It averages over about 1/(1 - beta) values. Without the correction the first averages are
    too small, since v starts at 0.

    In NumPy, to the byte (fastoptim.reference.ewma), with v and w = 0.0 at first, for each x in
    float64:

        v = beta*v + (1 - beta)*x
        w = beta*w + (1 - beta)
        y = v/w                            with bias correction, else y = v

    So float32 series are averaged in float64, and each y is rounded once. w, the sum of the
    weights, stands for 1 - beta**t: however near beta is to 1, the average of a constant is that
    constant, in float64 to about 1e-12.

    Args:
        x: float32 or float64 array of any shape and layout; time runs along `axis`.
        beta: weight of the past, in [0, 1).
        bias_correction: divide by the weights' sum.
        axis: the axis of time; all others hold series of their own.
        out: array like x to write to; x itself to work in place. New by default.

    Returns:
        The averages: `out`, or a new array of x's shape and dtype.

    Raises:
        TypeError: another dtype, or not an array. ValueError: beta outside [0, 1), axis out of
        range, or an `out` of another shape, read-only, or overlapping x without being x.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> fo.ewma(np.array([4.0, 4.0, 10.0]), beta=0.5).round(3)
        array([4.   , 4.   , 7.429])
        >>> fo.ewma(np.array([4.0, 4.0, 10.0]), beta=0.5, bias_correction=False)
        array([2. , 3. , 6.5])

    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, section 3.
    """
    beta = checks.number("beta", beta, below=1)
    checks.flag("bias_correction", bias_correction)
    x = _core.as_array(x, "x")
    # Before x is looked at, since this may call code of the caller's, which could change x.
    written = None if out is None else _core.as_array(out, "out")
    axis = checks.integer("axis", axis)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must name an axis of x, which has {x.ndim}, got {axis}")
    if out is None:
        out = written = np.empty_like(x, subok=False)
    _core.ewma(x, written, axis % x.ndim, beta, bias_correction)
    return out
