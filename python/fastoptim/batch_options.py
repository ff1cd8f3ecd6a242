"""The options of MiniBatches: their checks, and the properties that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastoptim import checks
from fastoptim.permutation import MAX_ROWS, Fixed

if TYPE_CHECKING:
    from typing import TypedDict

    class Options(TypedDict):
        """The options as MiniBatches keeps them."""

        batch_size: int
        shuffle: bool
        drop_last: bool
        axis: int | tuple[int, ...]
        shard: tuple[int, int]
        prefetch: int
        block_rows: int | None
        window_blocks: int
        min_batch: int


MAX_WORLD = 2**31 - 1
MAX_PREFETCH = 1024
WINDOW_BLOCKS = 32


def check_shard(shard: Any, batch_size: int) -> tuple[int, int]:
    """Return (rank, world) as two integers; TypeError or ValueError otherwise."""
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


def check_min_batch(min_batch: object, drop_last: bool, batch_size: int, n: int) -> int:
    """Return the samples that a last batch must have; drop_last asks for a whole one."""
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


def check_blocks(block_rows: object, window_blocks: object, shuffle: bool) -> tuple[
        int | None, int]:
    """Return block_rows and window_blocks, which must be left out without block_rows."""
    rows = None
    if block_rows is not None:
        if not shuffle:
            raise ValueError(f"block_rows must be None with shuffle=False, got {block_rows}")
        rows = checks.integer("block_rows", block_rows, low=1, high=MAX_ROWS)
    elif window_blocks != WINDOW_BLOCKS:
        raise ValueError("window_blocks must be left out without block_rows, got "
                         f"{window_blocks!r}")
    return rows, checks.integer("window_blocks", window_blocks, low=1, high=MAX_ROWS)


class BatchOptions(Fixed):
    """Options that can be read, as attributes."""

    __slots__ = ("_options",)

    if TYPE_CHECKING:
        _options: Options

    @property
    def batch_size(self) -> int:
        """Samples in a batch, over all ranks."""
        return self._options["batch_size"]

    @property
    def shuffle(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self._options["shuffle"]

    @property
    def drop_last(self) -> bool:
        """Whether a last batch that is shorter is left out."""
        return self._options["drop_last"]

    @property
    def min_batch(self) -> int:
        """Samples that a last batch must have, over all ranks."""
        return self._options["min_batch"]

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The axis of the samples, or a tuple with one for each array."""
        return self._options["axis"]

    @property
    def shard(self) -> tuple[int, int]:
        """The rank of this process and the number of processes, (rank, world)."""
        return self._options["shard"]

    @property
    def prefetch(self) -> int:
        """Batches that are made ahead."""
        return self._options["prefetch"]

    @property
    def block_rows(self) -> int | None:
        """Samples in a block, or None."""
        return self._options["block_rows"]

    @property
    def window_blocks(self) -> int:
        """Blocks in a window."""
        return self._options["window_blocks"]
