"""Arrays put into the order of an epoch, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastoptim import _core
from fastoptim.permutation import Permutation
from fastoptim.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastoptim.samples import ArrayInput, Axis

__all__ = ["shuffle_"]


def shuffle_(*arrays: ArrayInput | Mapping[str, ArrayInput], seed: int = 0, epoch: int = 0,
             axis: Axis = 0) -> None:
    """Put arrays into the order of an epoch, in place.

    The order is that of `Permutation`::

        x = x[Permutation(n, seed, epoch)[:]]

    Parameters
    ----------
    *arrays : array, or one dict of arrays
        Writable arrays of any dtype without objects and any layout, with the
        same number of samples along `axis`.
    seed : int, default 0
        From 0 to ``2**128 - 1``.
    epoch : int, default 0
        From 0 to ``2**64 - 1``.
    axis : int or tuple of int, default 0
        The axis of the samples; negative ones count from each array's own end.
        A tuple gives one for each array.

    Raises
    ------
    TypeError
        If an array is not one or holds objects, or `seed`, `epoch` or `axis`
        is not an integer. Nothing has moved then.
    ValueError
        If lengths differ, an array is read-only, arrays overlap, or `seed`,
        `epoch` or `axis` is out of range. Nothing has moved then.

    Notes
    -----
    It follows the cycles of the order. Its memory is a bit for each sample,
    and one sample.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
    >>> fo.shuffle_(X, Y, seed=1)
    >>> Y
    array([3, 1, 0, 2, 4])
    """
    samples = Samples(arrays, axis)
    _core.shuffle(samples.arrays, samples.labels, samples.axes,
                  Permutation(samples.n, seed, epoch)._core)
