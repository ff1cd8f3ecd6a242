"""Mini-batches of arrays, in a new order each epoch."""

import numpy as np

from fastoptim import checks

__all__ = ["MiniBatches"]


class MiniBatches:
    """Shuffled mini-batches of one or more arrays, in unison; each iteration is one epoch.

    The order of an epoch is a function of the number of samples, the seed and the epoch, which
    advances by itself. `batch_size=1` is stochastic, `batch_size=len(X)` batch gradient descent.

    Args:
        arrays: arrays with the same number of samples along `axis`.
        batch_size: samples in a batch, >= 1. The last batch may be shorter.
        seed: integer >= 0.
        shuffle: False keeps the arrays' order, and yields views rather than copies.
        drop_last: leave out a last batch that is shorter.
        axis: the axis of the samples: 0 for rows, 1 for X of shape (n_x, m).

    Raises:
        TypeError, ValueError: no arrays, arrays of different lengths, a bad batch_size or seed.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
        >>> for x, y in fo.MiniBatches(X, Y, batch_size=2, shuffle=False):
        ...     print(x.tolist(), y.tolist())
        [[0, 1], [2, 3]] [0, 1]
        [[4, 5], [6, 7]] [2, 3]
        [[8, 9]] [4]
    """

    def __init__(self, *arrays, batch_size, seed=0, shuffle=True, drop_last=False, axis=0):
        if not arrays:
            raise ValueError("arrays must be at least one, got none")
        lengths = [np.shape(x)[axis] if np.ndim(x) > axis else None for x in arrays]
        for k, length in enumerate(lengths):
            if length is None or length != lengths[0]:
                raise ValueError(f"arrays must have the same length along axis {axis}, got "
                                 f"{length} for array {k} and {lengths[0]} for array 0")
        self._arrays = arrays
        self._n = lengths[0]
        self._batch_size = checks.integer("batch_size", batch_size, low=1)
        self._seed = checks.integer("seed", seed, low=0)
        self._shuffle = checks.flag("shuffle", shuffle)
        self._drop_last = checks.flag("drop_last", drop_last)
        self._axis = checks.integer("axis", axis, low=0)
        self._epoch = 0

    def __len__(self) -> int:
        if self._drop_last:
            return self._n // self._batch_size
        return -(-self._n // self._batch_size)

    def __iter__(self):
        epoch, self._epoch = self._epoch, self._epoch + 1
        if self._shuffle:
            order = np.random.default_rng((self._seed, epoch)).permutation(self._n)
        for k in range(len(self)):
            rows = slice(k * self._batch_size, (k + 1) * self._batch_size)
            index = order[rows] if self._shuffle else rows
            batch = tuple(x[(slice(None),) * self._axis + (index,)] for x in self._arrays)
            yield batch if len(batch) > 1 else batch[0]
