"""One pass over a memory-mapped file in shuffled blocks, beside reading it once through.

    python bench/stream.py [--gib 8] [--dir DIR] [--repeats 3] [--picture FILE]

Both begin with a cold cache: the file's pages are written back and dropped with posix_fadvise. A
thread reads the process's own accounting (/proc/self/smaps_rollup for anonymous memory, /proc/self/
smaps for the mapped pages of the file) ten times a second. Linux only.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import fastoptim as fo
from fastoptim import plotting

ROW = 3072  # bytes
MIB = 1 << 20


def write_file(path, size):
    """Rows that tell their own number, in a file on disk, whole."""
    rows = size // ROW
    chunk = np.zeros((64 * MIB // ROW, ROW // 8), np.int64)
    chunk[:] = np.random.default_rng(0).integers(0, 1 << 62, chunk.shape)
    with open(path, "wb", buffering=0) as file:
        for first in range(0, rows, len(chunk)):
            count = min(len(chunk), rows - first)
            chunk[:count, 0] = np.arange(first, first + count)
            file.write(chunk[:count])
        os.fsync(file.fileno())
    return rows


def drop_from_cache(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def cached_share(path):
    """The share of the file's pages that are in the page cache, or nan."""
    try:
        import ctypes
        import mmap

        size = os.path.getsize(path)
        with open(path, "rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as view:
            pages = -(-size // mmap.PAGESIZE)
            residency = (ctypes.c_ubyte * pages)()
            address = np.frombuffer(view, np.uint8).ctypes.data
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), residency):
                return float("nan")
            return float((np.frombuffer(residency, np.uint8) & 1).mean())
    except (OSError, ValueError, BufferError):
        return float("nan")


def read_through(path):
    """Seconds to read the file from end to end with read."""
    buffer = bytearray(8 * MIB)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


class Accounting(threading.Thread):
    """Anonymous memory and mapped pages of the file, in MiB, at intervals."""

    def __init__(self, path, interval=0.1):
        super().__init__(daemon=True)
        self.path, self.interval = str(path), interval
        self.samples, self.over = [], threading.Event()

    def run(self):
        start = time.perf_counter()
        while not self.over.wait(self.interval):
            self.samples.append((time.perf_counter() - start, *self.sample()))

    def sample(self):
        anonymous = mapped = 0
        with open("/proc/self/smaps_rollup") as file:
            for line in file:
                if line.startswith("Anonymous:"):
                    anonymous = int(line.split()[1]) / 1024
        with open("/proc/self/smaps") as file:
            inside = False
            for line in file:
                if "-" in line.split(maxsplit=1)[0]:
                    inside = line.rstrip().endswith(self.path)
                elif inside and line.startswith("Rss:"):
                    mapped += int(line.split()[1]) / 1024
        return anonymous, mapped


def shuffled_pass(path, rows, args):
    """Seconds for an epoch, and the samples of the accounting."""
    X = np.memmap(path, np.int64, "r", shape=(rows, ROW // 8))
    batches = fo.MiniBatches(X, batch_size=args.batch_size, block_rows=args.block_rows,
                             window_blocks=args.window_blocks, prefetch=1)
    seen = np.zeros(rows, bool)
    accounting = Accounting(path)
    accounting.start()
    start = time.perf_counter()
    for x in batches:
        seen[x[:, 0]] = True
    elapsed = time.perf_counter() - start
    accounting.over.set()
    accounting.join()
    assert seen.all(), "a row was missed"
    return elapsed, accounting.samples


def draw(path, samples, window, gib):
    plotting.save(lambda: _figure(samples, window, gib), path)


def _figure(samples, window, gib):
    seconds, anonymous, mapped = np.array(samples).T
    fig = plotting.figure(height=4, title=f"One shuffled pass over a file of {gib:g} GiB")
    panel = fig.subplots()
    panel.plot(seconds, mapped, color=plotting.OURS, label="mapped pages of the file")
    panel.plot(seconds, anonymous, color=plotting.BLUE, label="anonymous memory")
    panel.axhline(2 * window, color=plotting.GREY, linestyle=":", label="two windows")
    panel.set(xlabel="seconds", ylabel="MiB", ylim=(0, None))
    panel.legend()
    return fig


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=8.0, help="of the file (default: 8)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()),
                        help="where the file is put for the while (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--block-rows", type=int, default=1024)
    parser.add_argument("--window-blocks", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    size = int(args.gib * 1024) * MIB
    if shutil.disk_usage(args.dir).free < size * 1.1:
        sys.exit(f"--dir must have {args.gib * 1.1:.1f} GiB free, got "
                 f"{shutil.disk_usage(args.dir).free / 2**30:.1f} GiB in {args.dir}")
    window = args.block_rows * args.window_blocks * ROW / MIB
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        path = Path(folder) / "rows"
        rows = write_file(path, size)
        print(f"{rows} rows of {ROW} bytes, {os.path.getsize(path) / 2**30:.2f} GiB; blocks of "
              f"{args.block_rows} rows ({args.block_rows * ROW / MIB:.1f} MiB), windows of "
              f"{args.window_blocks} blocks ({window:.0f} MiB), batches of {args.batch_size}")
        pairs = []
        for _ in range(args.repeats):
            drop_from_cache(path)
            cached = cached_share(path)
            read = read_through(path)
            drop_from_cache(path)
            passed, samples = shuffled_pass(path, rows, args)
            print(f"  cached before: {100 * cached:.1f} %  read {read:6.2f} s  shuffled pass "
                  f"{passed:6.2f} s  ratio {passed / read:.2f}", flush=True)
            pairs.append((read, passed))
        size_gib = os.path.getsize(path) / 2**30
    read, passed = np.median(pairs, axis=0)
    print(f"medians: read once through {read:.2f} s ({size_gib / read:.2f} GiB/s), shuffled pass "
          f"{passed:.2f} s ({size_gib / passed:.2f} GiB/s): {passed / read:.2f} times")
    print("\n   s  anonymous MiB  mapped MiB")
    for t, anonymous, mapped in samples[:: max(1, len(samples) // 20)]:
        print(f"{t:6.1f} {anonymous:12.1f} {mapped:11.1f}")
    anonymous, mapped = (np.array([sample[k] for sample in samples]) for k in (1, 2))
    steady = anonymous[len(anonymous) // 10 :]
    print(f"anonymous: {steady.min():.1f} to {steady.max():.1f} MiB after the first tenth; mapped: "
          f"at most {mapped.max():.1f} MiB, {mapped.max() / window:.2f} windows")
    if args.picture:
        draw(args.picture, samples, window, args.gib)


if __name__ == "__main__":
    main()
