"""Mini-batches of arrays, in a new order each epoch."""

from collections.abc import Mapping

import numpy as np

from fastoptim import _core, checks, parameters
from fastoptim.permutation import MAX_ROWS, Fixed, Permutation, check_epoch, split_seed

__all__ = ["MiniBatches", "shuffle_"]

VERSION = "perm-v1"
MAX_WORLD = 2**31 - 1
WINDOW_BLOCKS = 32


class Samples:
    """Arrays as a call gives them, checked: what they are called, their axes, their length."""

    def __init__(self, given, axis):
        self.names = None  # or those of the arrays of a dict
        if len(given) == 1 and isinstance(given[0], Mapping):
            given = parameters.named(given[0], "arrays")
            self.names, given = tuple(given), list(given.values())
        if not given:
            raise ValueError("arrays must be at least one, got none")
        self.labels = [f"array {name!r}" for name in self.names or range(len(given))]
        self.arrays = [_array(x, label) for x, label in zip(given, self.labels)]
        self.axes = self._check_axes(axis)
        lengths = [x.shape[k] for x, k in zip(self.arrays, self.axes)]
        if any(n != lengths[0] for n in lengths):
            raise ValueError(self._unequal(lengths))
        self.n = checks.integer("the length of the arrays", lengths[0], low=0, high=MAX_ROWS)

    def _check_axes(self, axis):
        """Each array's axis, counted from the front."""
        many = isinstance(axis, (tuple, list))
        if many and len(axis) != len(self.arrays):
            raise ValueError("axis must be an integer or a tuple of "
                             f"{len(self.arrays)}, one for each array, got {axis!r}")
        axes = []
        each = axis if many else [axis] * len(self.arrays)
        for x, label, k in zip(self.arrays, self.labels, each):
            if x.ndim == 0:
                raise ValueError(f"{label} must have an axis of samples, got shape ()")
            k = checks.integer("axis", k)
            if not -x.ndim <= k < x.ndim:
                where = f" for {label} of shape {x.shape}" if len(self.arrays) > 1 else ""
                hint = "" if many or not where else "; axis may be a tuple, one for each array"
                raise ValueError(f"axis must be in [{-x.ndim}, {x.ndim - 1}]{where}, got {k}{hint}")
            axes.append(k % x.ndim)
        return axes

    def _unequal(self, lengths):
        along = f"axis {self.axes[0]}" if len(set(self.axes)) == 1 else f"axes {tuple(self.axes)}"
        each = ", ".join(f"{n} for {label}" for n, label in zip(lengths, self.labels))
        hint = ""
        for n in lengths:  # that of another array's axis, perhaps
            if all(x.shape.count(n) == 1 for x in self.arrays):
                axes = tuple(x.shape.index(n) for x in self.arrays)
                hint = f"; axis={axes} would give {n} for each"
        return f"arrays must have the same length along {along}, got {each}{hint}"


def _array(x, label):
    if isinstance(x, (list, tuple)) and x and all(map(parameters.is_array, x)):
        raise TypeError(f"{label} must be an array, got a {type(x).__name__} of arrays: "
                        "unpack it, as MiniBatches(*arrays)")
    if isinstance(x, Mapping):
        raise TypeError(f"{label} must be an array, got {type(x).__name__}: a dict of arrays must "
                        "come alone")
    array = _core.as_array(x, label)
    if array.dtype.hasobject:
        raise TypeError(f"{label} must not hold Python objects, got dtype {array.dtype}")
    return x if isinstance(x, np.ndarray) else array


def check_shard(shard, batch_size):
    try:
        rank, world = shard
    except (TypeError, ValueError):
        raise ValueError(f"shard must be (rank, world), got {shard!r}") from None
    world = checks.integer("world", world, low=1)
    rank = checks.integer("rank", rank, low=0, high=world - 1)
    if world > batch_size:
        raise ValueError("batch_size must be at least the world's size, a row for each rank, got "
                         f"{batch_size} for a world of {world}")
    if world > MAX_WORLD:
        raise ValueError(f"world must be <= {MAX_WORLD}, got {world}")
    return rank, world


def check_min_batch(min_batch, drop_last, batch_size, n):
    """The samples that a last batch must have; drop_last asks for a whole one."""
    min_batch = checks.integer("min_batch", min_batch, low=1)
    if min_batch > batch_size:
        raise ValueError(f"min_batch must be <= batch_size, got {min_batch} for {batch_size}")
    if drop_last and min_batch not in (1, batch_size):
        raise ValueError("min_batch must be left out with drop_last=True, which is "
                         f"min_batch={batch_size}, got {min_batch}")
    name, least = ("batch_size", batch_size) if drop_last else ("min_batch", min_batch)
    if least > max(n, 1):
        rule = " with drop_last=True" if drop_last else ""
        raise ValueError(f"{name} must be <= the number of samples{rule}, or no batch would ever "
                         f"come, got {least} for {n}")
    return least


def mapping_of(array):
    """The memory map that an array shows, or None."""
    while array is not None and not (isinstance(array, np.memmap) and array.mode):
        array = getattr(array, "base", None)
    return array


def maps_a_file(array):
    """Whether the array's pages are a file's own: let go of, they are read again, never lost."""
    mapping = mapping_of(array)
    return mapping is not None and mapping.mode in ("r", "r+", "w+")


def _option(name, doc):
    return property(lambda self: self._options[name], doc=doc)


def _restored(kind, arrays, options, place, next_place):
    """What copy and pickle make: batches of their own, at the same place."""
    batches = kind.__new__(kind)
    MiniBatches.__init__(batches, *arrays, **options)
    low, high, epoch, position = place
    batches._core.seek(_core.Seed(low, high), epoch, position)
    low, high, epoch, position = next_place
    batches._core.set_next(_core.Seed(low, high), epoch, position)
    return batches


class MiniBatches(Fixed):
    """Shuffled mini-batches of one or more arrays, in unison; each iteration is one epoch.

    Batch k of an epoch holds rows `Permutation(n, seed, epoch)[k*batch_size:(k+1)*batch_size]` of
    every array, copied straight from them by several threads, without an array of indices. The
    epoch advances by itself. `batch_size=1` is stochastic, `batch_size=len(X)` batch gradient
    descent.

    A batch is a tuple of arrays, the array itself if there is one, or a dict if a dict of arrays
    was given. It stays as it is for as long as anything refers to it or to a view of it; then its
    memory serves another batch.

    One `iter()` is one pass: it begins the epoch after that of the last pass begun, at its start,
    whether that pass came to its end or was left early. Only where `start`, `seek` or
    `load_state_dict` has just set a place does it go on from there. Iterators alive at once are
    independent; threads that share one share its batches. `epoch`, `position`, `remaining` and
    `state_dict()` tell the place of the iterator that moved last.

    The arrays must stay as they are: one that was resized, or got another shape, strides or
    dtype, is refused by name. What is written into them shows in later batches; with `prefetch`,
    batches that were made ahead may still hold what was there before.

    Args:
        arrays: arrays of any dtype without objects and any layout, with the same number of
            samples along `axis`: NumPy's, or anything with the buffer protocol, DLPack or
            `__array__` that shows its memory without a copy. Or one dict of them.
        batch_size: samples in a batch over all ranks, >= 1. The last batch may be shorter.
        seed: integer from 0 to 2**128 - 1.
        shuffle: False keeps the arrays' order, and yields read-only views rather than copies.
        drop_last: leave out a last batch that is shorter.
        axis: the axis of the samples: 0 for rows, 1 for X of shape (n_x, m); negative ones count
            from each array's own end. A tuple gives one for each array.
        shard: (rank, world): each of `world` processes gets its even part of every batch. A part
            of a short last batch may be empty: all ranks get the same number of batches.
        start: (epoch, position): where to begin; `position` samples of that epoch are taken.
        prefetch: batches that a background thread makes while the caller computes, 0 to 1024;
            none for shuffle=False, whose views need no making.
        block_rows: for memory-mapped arrays larger than memory: shuffle blocks of that many
            samples, and samples only within a window of `window_blocks` such blocks. The file is
            read a block at a time, a window ahead, and two windows of it stay in memory.
        window_blocks: >= 1.
        min_batch: leave out a last batch of fewer samples than that, counted over all ranks:
            `min_batch=world*k` leaves each rank k or more. From 1 to batch_size.

    Raises:
        TypeError, ValueError: no arrays, arrays of different lengths or with objects, too few
        samples for one batch, a bad option; before anything starts.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
        >>> for x, y in fo.MiniBatches(X, Y, batch_size=2, shuffle=False):
        ...     print(x.tolist(), y.tolist())
        [[0, 1], [2, 3]] [0, 1]
        [[4, 5], [6, 7]] [2, 3]
        [[8, 9]] [4]

        >>> batches = fo.MiniBatches(X, Y, batch_size=2, seed=1)
        >>> for epoch in range(2):
        ...     print([y.tolist() for x, y in batches])
        [[3, 1], [0, 2], [4]]
        [[2, 0], [1, 3], [4]]
    """

    __slots__ = ("_core", "_n", "_names", "_options", "_seed", "_seed_words", "__weakref__")
    _instead = {
        "": "make a new MiniBatches, and load_state_dict(this_one.state_dict()) to go on there",
        "seed": "make a new MiniBatches",
        "epoch": "call seek(epoch, position)",
        "position": "call seek(epoch, position)",
        "remaining": "call seek(epoch, position)",
    }

    def __init__(self, *arrays, batch_size, seed=0, shuffle=True, drop_last=False, axis=0,
                 shard=(0, 1), start=(0, 0), prefetch=0, block_rows=None,
                 window_blocks=WINDOW_BLOCKS, min_batch=1):
        samples = Samples(arrays, axis)
        n = samples.n
        batch_size = checks.integer("batch_size", batch_size, low=1)
        seed, words = split_seed(seed)
        shuffle = checks.flag("shuffle", shuffle)
        drop_last = checks.flag("drop_last", drop_last)
        min_batch = check_min_batch(min_batch, drop_last, batch_size, n)
        rank, world = check_shard(shard, batch_size)
        prefetch = checks.integer("prefetch", prefetch, low=0, high=1024)
        if block_rows is not None:
            if not shuffle:
                raise ValueError(f"block_rows must be None with shuffle=False, got {block_rows}")
            block_rows = checks.integer("block_rows", block_rows, low=1, high=MAX_ROWS)
        elif window_blocks != WINDOW_BLOCKS:
            raise ValueError("window_blocks must be left out without block_rows, got "
                             f"{window_blocks!r}")
        window_blocks = checks.integer("window_blocks", window_blocks, low=1, high=MAX_ROWS)
        try:
            epoch, position = start
        except (TypeError, ValueError):
            raise ValueError(f"start must be (epoch, position), got {start!r}") from None
        self._n = n
        epoch, position = self._check_place(epoch, position)
        self._core = _core.Batches(
            arrays=samples.arrays, labels=samples.labels, axes=samples.axes, names=samples.names,
            n=n, batch_size=min(batch_size, n + 1),  # as good as any that is longer
            min_batch=min(min_batch, n + 1), rank=rank, world=world, shuffle=shuffle,
            prefetch=prefetch, block_rows=block_rows or 0, window_blocks=window_blocks,
            read_ahead=block_rows is not None and all(map(maps_a_file, samples.arrays)))
        self._core.seek(words, epoch, position)
        self._names = samples.names
        self._seed, self._seed_words = seed, words
        self._options = {
            "batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last,
            "axis": tuple(axis) if isinstance(axis, list) else axis, "shard": (rank, world),
            "prefetch": prefetch, "block_rows": block_rows, "window_blocks": window_blocks,
            "min_batch": min_batch}

    batch_size = _option("batch_size", "Samples in a batch, over all ranks.")
    shuffle = _option("shuffle", "Whether each epoch has an order of its own.")
    drop_last = _option("drop_last", "Whether a last batch that is shorter is left out.")
    min_batch = _option("min_batch", "Samples that a last batch must have, over all ranks.")
    axis = _option("axis", "The axis of the samples, or a tuple with one for each array.")
    shard = _option("shard", "(rank, world)")
    prefetch = _option("prefetch", "Batches that are made ahead.")
    block_rows = _option("block_rows", "Samples in a block, or None.")
    window_blocks = _option("window_blocks", "Blocks in a window.")

    @property
    def n(self) -> int:
        """Samples in an epoch."""
        return self._n

    @property
    def seed(self) -> int:
        """The seed of the passes to come."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch of the next batch of the iterator that moved last."""
        return self._core.place()[2]

    @property
    def position(self) -> int:
        """How many samples of that epoch are taken, over all ranks."""
        return self._core.place()[3]

    @property
    def remaining(self) -> int:
        """How many batches of that epoch are still to come."""
        return self._core.remaining

    def __len__(self) -> int:
        """Batches in a whole epoch; `remaining` are those that are left of one."""
        return self._core.n_batches

    def __repr__(self) -> str:
        arrays = ", ".join(f"{x.dtype}{list(x.shape)}" for x in self._core.arrays)
        return (f"MiniBatches({arrays}, batch_size={self.batch_size}, seed={self._seed}, "
                f"epoch={self.epoch}, position={self.position} of {self._n})")

    def __iter__(self):
        """A new pass: an iterator with `remaining`, the batches that it still has to give."""
        return iter(self._core)

    def peek(self):
        """The first batch that a new `iter()` would give, without moving anything.

        Raises:
            ValueError: there are no samples.

        Example:
            >>> import numpy as np, fastoptim as fo
            >>> batches = fo.MiniBatches(np.arange(10), batch_size=4)
            >>> batches.peek().tolist() == next(iter(batches)).tolist()
            True
        """
        if self._n == 0:
            raise ValueError("the arrays must hold a sample to be peeked at, got none")
        return self._core.peek()

    def seek(self, epoch, position=0):
        """Has the next `iter()` begin where `position` samples of an epoch are taken, in O(1).

        Iterators that are under way stay where they are.

        Raises:
            TypeError, ValueError: epoch is not an integer from 0 to 2**64 - 1, or position not
            one from 0 to the number of samples.
        """
        self._core.seek(self._seed_words, *self._check_place(epoch, position))

    def _check_place(self, epoch, position):
        return check_epoch(epoch), checks.integer("position", position, low=0, high=self._n)

    def state_dict(self) -> dict:
        """A few numbers that say where the next batch begins, whatever its size and the world's.

        That is the next batch of the iterator that moved last.

        Example:
            >>> import numpy as np, fastoptim as fo
            >>> batches = fo.MiniBatches(np.arange(100), batch_size=10, seed=3)
            >>> taken = next(iter(batches))
            >>> rest = fo.MiniBatches(np.arange(100), batch_size=30)
            >>> rest.load_state_dict(batches.state_dict())
            >>> rest.remaining, sum(len(x) for x in rest)
            (3, 90)
        """
        low, high, epoch, position = self._core.place()
        blocks = (self.block_rows, self.window_blocks) if self.block_rows else (0, 0)
        return {"version": VERSION, "n": self._n, "shuffle": self.shuffle,
                "block_rows": blocks[0], "window_blocks": blocks[1],
                "seed": low | high << 64, "epoch": epoch, "position": position}

    def load_state_dict(self, state):
        """The next `iter()` goes on where the object that gave the state was.

        What follows is what that one had left. Iterators that are under way stay where they are.

        Raises:
            TypeError, ValueError: not a mapping, an entry is missing, or it is of another
            version, number of samples or way to shuffle; nothing has changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping, got {state!r}")
        state = dict(state)
        for name, value in self.state_dict().items():
            if name not in state:
                raise ValueError(f"state must have an entry {name!r}, got {sorted(state)}")
            if name not in ("seed", "epoch", "position") and state[name] != value:
                raise ValueError(f"state must have {name} {value!r} like these batches, got "
                                 f"{state[name]!r}")
        seed, words = split_seed(state["seed"])
        self._core.seek(words, *self._check_place(state["epoch"], state["position"]))
        self._seed, self._seed_words = seed, words

    def _parts(self, arrays):
        given = arrays if self._names is None else (dict(zip(self._names, arrays)),)
        return _restored, (type(self), given, {"seed": self._seed, **self._options},
                           self._core.place(), self._core.next_place()), getattr(
                               self, "__dict__", None)

    def __copy__(self):
        """Batches of the same arrays, with a place of their own."""
        make, arguments, attributes = self._parts(self._core.arrays)
        made = make(*arguments)
        if attributes:
            made.__dict__.update(attributes)
        return made

    def __reduce__(self):
        """What pickle and deepcopy need: the arrays' data, the options and the place."""
        arrays = self._core.arrays
        for x in arrays:
            if (mapping := mapping_of(x)) is not None:
                raise TypeError(
                    f"arrays must lie in memory to be pickled or copied deeply, got a map of "
                    f"{mapping.filename}, whose data would all be copied: make a MiniBatches from "
                    "the file there, and load_state_dict; or use copy.copy, which shares it")
        return self._parts(arrays)


def shuffle_(*arrays, seed=0, epoch=0, axis=0):
    """Puts arrays into the order of an epoch, in place.

        x = x[Permutation(n, seed, epoch)[:]]

    It follows the cycles of the order, with a bit a sample, and one sample, as its memory.

    Args:
        arrays: writable arrays of any dtype without objects and any layout, with the same number
            of samples along `axis`. Or one dict of them.
        seed: integer from 0 to 2**128 - 1.
        epoch: integer from 0 to 2**64 - 1.
        axis: the axis of the samples; negative ones count from each array's own end. A tuple
            gives one for each array.

    Raises:
        TypeError, ValueError: arrays of different lengths, with objects, read-only, or
        overlapping; a bad seed, epoch or axis; before anything moves.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
        >>> fo.shuffle_(X, Y, seed=1)
        >>> Y
        array([3, 1, 0, 2, 4])
    """
    samples = Samples(arrays, axis)
    _core.shuffle(samples.arrays, samples.labels, samples.axes,
                  Permutation(samples.n, seed, epoch)._core)
