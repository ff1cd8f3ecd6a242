"""Mini-batches of arrays, in a new order each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from fastoptim import _core, checks
from fastoptim.batch_options import (
    MAX_PREFETCH,
    WINDOW_BLOCKS,
    BatchOptions,
    check_blocks,
    check_min_batch,
    check_shard,
)
from fastoptim.permutation import check_epoch, split_seed
from fastoptim.samples import Samples, mapping_of, maps_a_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol, Self, TypeAlias

    from fastoptim.samples import Array, ArrayInput, Axis

__all__ = ["MiniBatches"]

VERSION = "perm-v1"
Batch = TypeVar("Batch", covariant=True)  # a tuple of arrays, an array, or a dict of arrays

if TYPE_CHECKING:
    Made = TypeVar("Made", bound="MiniBatches[Any]")
    Parts: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any] | None]
    Place: TypeAlias = tuple[int, int, int, int]  # two words of the seed, epoch, position

    class Pass(Iterator[Batch], Protocol[Batch]):
        """What iter(batches) gives: the batches of one pass."""

        @property
        def remaining(self) -> int:
            """Batches that are still to come."""
            ...


def _restored(kind: type[Made], arrays: Sequence[Any], options: dict[str, Any], place: Place,
              next_place: Place) -> Made:
    """Make what copy and pickle ask for: batches of their own, at the same place."""
    batches = kind.__new__(kind)
    MiniBatches.__init__(batches, *arrays, **options)
    low, high, epoch, position = place
    batches._core.seek(_core.Seed(low, high), epoch, position)
    low, high, epoch, position = next_place
    batches._core.set_next(_core.Seed(low, high), epoch, position)
    return batches


class MiniBatches(BatchOptions, Generic[Batch]):
    """Shuffled mini-batches of arrays, in unison; each iteration is one epoch.

    Batch k of an epoch holds the rows
    ``Permutation(n, seed, epoch)[k*batch_size:(k+1)*batch_size]`` of every
    array, copied straight from them by several threads, without an array of
    indices. The epoch advances by itself. ``batch_size=1`` gives stochastic,
    ``batch_size=len(X)`` batch gradient descent.

    A batch is a tuple of arrays, the array itself if there is one, or a dict
    if a dict of arrays was given.

    Parameters
    ----------
    *arrays : array, or one dict of arrays
        Arrays of any dtype without objects and any layout, with the same
        number of samples along `axis`: NumPy's, or anything with the buffer
        protocol, DLPack or ``__array__`` that shows its memory without a copy.
    batch_size : int
        Samples in a batch over all ranks, at least 1. The last batch may be
        shorter.
    seed : int, default 0
        From 0 to ``2**128 - 1``.
    shuffle : bool, default True
        False keeps the arrays' order, and yields read-only views rather than
        copies.
    drop_last : bool, default False
        Leave out a last batch that is shorter.
    axis : int or tuple of int, default 0
        The axis of the samples: 0 for rows, 1 for X of shape (n_x, m);
        negative ones count from each array's own end. A tuple gives one for
        each array.
    shard : tuple of int, default (0, 1)
        (rank, world): each of `world` processes gets its even part of every
        batch. `world` is from 1 to `batch_size`. A part of a short last batch
        may be empty: all ranks get the same number of batches.
    start : tuple of int, default (0, 0)
        (epoch, position): where to begin; `position` samples of that epoch are
        taken, from 0 to the number of samples.
    prefetch : int, default 0
        Batches that a background thread makes while the caller computes, 0 to
        1024. ``shuffle=False`` makes none, since views need no making.
    block_rows : int or None, default None
        For memory-mapped arrays larger than memory: shuffle blocks of that
        many samples, at least 1, and samples only within a window of
        `window_blocks` such blocks. The file is read a block at a time, a
        window ahead, and two windows of it stay in memory.
    window_blocks : int, default 32
        Blocks in a window, at least 1. Only with `block_rows`.
    min_batch : int, default 1
        Leave out a last batch of fewer samples than that, counted over all
        ranks, from 1 to `batch_size`: ``min_batch=world*k`` leaves each rank k
        or more.

    Raises
    ------
    TypeError
        If an array is not one or holds objects, or an option is of a wrong
        type. Nothing has started then.
    ValueError
        If there are no arrays, their lengths differ, there are too few samples
        for one batch, or an option is out of range. Nothing has started then.

    See Also
    --------
    Permutation : The order of an epoch.
    shuffle_ : Puts arrays into that order, in place.

    Notes
    -----
    One ``iter()`` is one pass. It begins the epoch after that of the last pass
    begun, at its start, whether that pass came to its end or was left early.
    Only where `start`, `seek` or `load_state_dict` has just set a place does
    it go on from there. Iterators alive at once are independent; threads that
    share one share its batches. `epoch`, `position`, `remaining` and
    ``state_dict()`` tell the place of the iterator that moved last.

    A batch stays as it is for as long as anything refers to it or to a view of
    it; then its memory serves another batch.

    The arrays must stay as they are: one that was resized, or got another
    shape, strides or dtype, is refused by name. What is written into them
    shows in later batches; with `prefetch`, batches that were made ahead may
    still hold what was there before.

    Examples
    --------
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

    __slots__ = ("_core", "_n", "_names", "_seed", "_seed_words", "__weakref__")
    _instead = {
        "": "make a new MiniBatches, and load_state_dict(this_one.state_dict()) to go on there",
        "seed": "make a new MiniBatches",
        "epoch": "call seek(epoch, position)",
        "position": "call seek(epoch, position)",
        "remaining": "call seek(epoch, position)",
    }

    @overload
    def __init__(
        self: MiniBatches[Array], array: ArrayInput, /, *,
        batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
        axis: Axis = 0, shard: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0),
        prefetch: int = 0, block_rows: int | None = None, window_blocks: int = 32,
        min_batch: int = 1,
    ) -> None: ...

    @overload
    def __init__(
        self: MiniBatches[tuple[Array, Array]], array_0: ArrayInput, array_1: ArrayInput, /, *,
        batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
        axis: Axis = 0, shard: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0),
        prefetch: int = 0, block_rows: int | None = None, window_blocks: int = 32,
        min_batch: int = 1,
    ) -> None: ...

    @overload
    def __init__(
        self: MiniBatches[tuple[Array, Array, Array]],
        array_0: ArrayInput, array_1: ArrayInput, array_2: ArrayInput, /, *,
        batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
        axis: Axis = 0, shard: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0),
        prefetch: int = 0, block_rows: int | None = None, window_blocks: int = 32,
        min_batch: int = 1,
    ) -> None: ...

    @overload
    def __init__(
        self: MiniBatches[tuple[Array, ...]], *arrays: ArrayInput,
        batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
        axis: Axis = 0, shard: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0),
        prefetch: int = 0, block_rows: int | None = None, window_blocks: int = 32,
        min_batch: int = 1,
    ) -> None: ...

    @overload
    def __init__(
        self: MiniBatches[dict[str, Array]], arrays: Mapping[str, ArrayInput], /, *,
        batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
        axis: Axis = 0, shard: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0),
        prefetch: int = 0, block_rows: int | None = None, window_blocks: int = 32,
        min_batch: int = 1,
    ) -> None: ...

    def __init__(
        self, *arrays: Any, batch_size: int, seed: int = 0, shuffle: bool = True,
        drop_last: bool = False, axis: Axis = 0, shard: tuple[int, int] = (0, 1),
        start: tuple[int, int] = (0, 0), prefetch: int = 0, block_rows: int | None = None,
        window_blocks: int = WINDOW_BLOCKS, min_batch: int = 1,
    ) -> None:
        samples = Samples(arrays, axis)
        n = samples.n
        batch_size = checks.integer("batch_size", batch_size, low=1)
        seed, words = split_seed(seed)
        shuffle = checks.flag("shuffle", shuffle)
        drop_last = checks.flag("drop_last", drop_last)
        min_batch = check_min_batch(min_batch, drop_last, batch_size, n)
        rank, world = check_shard(shard, batch_size)
        prefetch = checks.integer("prefetch", prefetch, low=0, high=MAX_PREFETCH)
        block_rows, window_blocks = check_blocks(block_rows, window_blocks, shuffle)
        try:
            epoch, position = start
        except (TypeError, ValueError):
            raise ValueError(f"start must be (epoch, position), got {start!r}") from None
        self._n = n
        epoch, position = self._checked_place(epoch, position)
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
        return self._place()[2]

    @property
    def position(self) -> int:
        """How many samples of that epoch are taken, over all ranks."""
        return self._place()[3]

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

    def __iter__(self) -> Pass[Batch]:
        """A new pass: an iterator with `remaining`, its batches to come."""
        return cast("Pass[Batch]", iter(self._core))

    def _place(self) -> Place:
        return self._core.place()

    def peek(self) -> Batch:
        """Return the first batch of a new ``iter()``, and move nothing.

        Returns
        -------
        array, tuple of arrays, or dict of arrays
            A batch, as iteration gives it.

        Raises
        ------
        ValueError
            If there are no samples.

        Examples
        --------
        >>> import numpy as np, fastoptim as fo
        >>> batches = fo.MiniBatches(np.arange(10), batch_size=4)
        >>> batches.peek().tolist() == next(iter(batches)).tolist()
        True
        """
        if self._n == 0:
            raise ValueError("the arrays must hold a sample to be peeked at, got none")
        return cast("Batch", self._core.peek())

    def seek(self, epoch: int, position: int = 0) -> None:
        """Set where the next ``iter()`` begins, in O(1).

        Iterators that are under way stay where they are.

        Parameters
        ----------
        epoch : int
            From 0 to ``2**64 - 1``.
        position : int, default 0
            How many samples of that epoch are taken, from 0 to the number of
            samples.

        Raises
        ------
        TypeError
            If `epoch` or `position` is not an integer.
        ValueError
            If one is out of range.

        Examples
        --------
        >>> import numpy as np, fastoptim as fo
        >>> batches = fo.MiniBatches(np.arange(10), batch_size=4, shuffle=False)
        >>> batches.seek(5, 8)
        >>> [batch.tolist() for batch in batches]
        [[8, 9]]
        """
        self._core.seek(self._seed_words, *self._checked_place(epoch, position))

    def _checked_place(self, epoch: int, position: int) -> tuple[int, int]:
        return check_epoch(epoch), checks.integer("position", position, low=0, high=self._n)

    def state_dict(self) -> dict[str, Any]:
        """Return a few numbers that say where the next batch begins.

        That is the next batch of the iterator that moved last. The numbers
        hold whatever the batch size and the world's.

        Returns
        -------
        dict
            Integers, one bool and the version of the order, which JSON keeps.

        Examples
        --------
        >>> import numpy as np, fastoptim as fo
        >>> batches = fo.MiniBatches(np.arange(100), batch_size=10, seed=3)
        >>> taken = next(iter(batches))
        >>> rest = fo.MiniBatches(np.arange(100), batch_size=30)
        >>> rest.load_state_dict(batches.state_dict())
        >>> rest.remaining, sum(len(x) for x in rest)
        (3, 90)
        """
        low, high, epoch, position = self._place()
        blocks = (self.block_rows, self.window_blocks) if self.block_rows else (0, 0)
        return {"version": VERSION, "n": self._n, "shuffle": self.shuffle,
                "block_rows": blocks[0], "window_blocks": blocks[1],
                "seed": low | high << 64, "epoch": epoch, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next ``iter()`` go on where the object that gave the state was.

        What follows is what that one had left. Iterators that are under way
        stay where they are.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned, of as many samples shuffled in the same
            way.

        Raises
        ------
        TypeError
            If `state` is not a mapping, or an entry is not an integer.
        ValueError
            If an entry is missing, out of range, or of another version, number
            of samples or way to shuffle. Nothing has changed then.
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
        self._core.seek(words, *self._checked_place(state["epoch"], state["position"]))
        self._seed, self._seed_words = seed, words

    def _parts(self, arrays: Sequence[Array]) -> Parts:
        """Return what pickle wants of `__reduce__`: a callable, its arguments, attributes."""
        given = arrays if self._names is None else (dict(zip(self._names, arrays)),)
        options = {"seed": self._seed, **self._options}
        return (_restored,
                (type(self), given, options, self._place(), self._core.next_place()),
                getattr(self, "__dict__", None))

    def __copy__(self) -> Self:
        """Return batches of the same arrays, with a place of their own."""
        make, arguments, attributes = self._parts(self._core.arrays)
        made: Self = make(*arguments)
        if attributes:
            made.__dict__.update(attributes)
        return made

    def __reduce__(self) -> Parts:
        """Return what pickle and deepcopy need: arrays, options and place."""
        arrays = self._core.arrays
        for x in arrays:
            if (mapping := mapping_of(x)) is not None:
                raise TypeError(
                    f"arrays must lie in memory to be pickled or copied deeply, got a map of "
                    f"{mapping.filename}, whose data would all be copied: make a MiniBatches from "
                    "the file there, and load_state_dict; or use copy.copy, which shares it")
        return self._parts(arrays)
