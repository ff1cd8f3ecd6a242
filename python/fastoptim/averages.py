"""Moving averages of series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastoptim import _core, checks

if TYPE_CHECKING:
    from typing import TypeVar

    from numpy.typing import NDArray

    from fastoptim.samples import ArrayInput

    Float = TypeVar("Float", bound=np.floating[Any])
    Out = TypeVar("Out", bound=ArrayInput)

__all__ = ["ewma"]


@overload
def ewma(x: NDArray[Float], beta: float = 0.9, *, bias_correction: bool = True, axis: int = 0,
         out: None = None) -> NDArray[Float]: ...


@overload
def ewma(x: ArrayInput, beta: float = 0.9, *, bias_correction: bool = True, axis: int = 0,
         out: None = None) -> NDArray[Any]: ...


@overload
def ewma(x: ArrayInput, beta: float = 0.9, *, bias_correction: bool = True, axis: int = 0,
         out: Out) -> Out: ...


def ewma(x: ArrayInput, beta: float = 0.9, *, bias_correction: bool = True, axis: int = 0,
         out: ArrayInput | None = None) -> ArrayInput:
    r"""Exponentially weighted moving average of a series, or of many at once.

    .. math::

        v_0 &= 0 \\
        v_t &= \beta v_{t-1} + (1 - \beta) x_t \\
        y_t &= v_t / (1 - \beta^t)

    Without bias correction, :math:`y_t = v_t`. It averages over about
    :math:`1/(1 - \beta)` values. Without the correction the first averages
    are too small, since v starts at 0.

    Parameters
    ----------
    x : array
        float32 or float64, of any shape and layout; time runs along `axis`.
    beta : float, default 0.9
        Weight of the past, in [0, 1).
    bias_correction : bool, default True
        Divide by the sum of the weights.
    axis : int, default 0
        The axis of time; all others hold series of their own.
    out : array or None, default None
        An array like x to write to; x itself to work in place. New by default.

    Returns
    -------
    array
        The averages: `out`, or a new array of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` or `out` is not an array, or of another dtype.
    ValueError
        If `beta` is outside [0, 1), `axis` is out of range, or `out` is of
        another shape, read-only, or overlaps `x` without being `x`.

    Notes
    -----
    In NumPy, to the byte (fastoptim.reference.ewma), with v and w = 0.0 at
    first, for each x in float64::

        v = beta*v + (1 - beta)*x
        w = beta*w + (1 - beta)
        y = v/w                     with bias correction, else y = v

    So float32 series are averaged in float64, and each y is rounded once. The
    sum of the weights, w, stands for ``1 - beta**t``: however near beta is to
    1, the average of a constant is that constant, in float64 to about 1e-12.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: a method for stochastic
       optimization", 2015, section 3.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> fo.ewma(np.array([4.0, 4.0, 10.0]), beta=0.5).round(3)
    array([4.   , 4.   , 7.429])
    >>> fo.ewma(np.array([4.0, 4.0, 10.0]), beta=0.5, bias_correction=False)
    array([2. , 3. , 6.5])
    """
    beta = checks.number("beta", beta, below=1)
    checks.flag("bias_correction", bias_correction)
    series = _core.as_array(x, "x")
    # Before the series is looked at, since this may call code of the caller's, which could
    # change it.
    written = None if out is None else _core.as_array(out, "out")
    axis = checks.integer("axis", axis)
    if not -series.ndim <= axis < series.ndim:
        raise ValueError(f"axis must name an axis of x, which has {series.ndim}, got {axis}")
    if out is None:
        out = written = np.empty_like(series, subok=False)
    _core.ewma(series, written, axis % series.ndim, beta, bias_correction)
    return out
