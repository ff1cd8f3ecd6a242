"""An epoch of shuffled mini-batches, beside NumPy and torch.

    python bench/shuffle.py [--mib 128] [--repeats 3] [--json FILE] [--picture FILE]

Each time is the best of interleaved repeats: every method once, then every method again. An epoch
comprises its order and every batch of (X, Y); X does not fit in the caches, Y is an int64 label a
row. The DataLoader's batches after the first are timed for a second and extrapolated to the epoch,
which would take minutes. torch is skipped if it is not installed.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
from common import in_new_process

import fastoptim as fo
from fastoptim import plotting
from fastoptim.bench import machine
from fastoptim.bench.timing import REST

try:
    import torch
except ImportError:
    torch = None

ROWS = {"16 B": 4, "128 B": 32, "3 KiB": 768}  # float32 values in a row
BATCHES = (64, 512, 8192)
COLOURS = (plotting.OURS, plotting.BLUE, plotting.SKY, plotting.GREEN, plotting.GREY)
DATALOADER_SECONDS = 1.0
CELL_SECONDS = 8.0  # short epochs are repeated for that long, so that one runs undisturbed


def numpy_fancy(X, Y, size, epoch):
    order = np.random.default_rng(epoch).permutation(len(X))
    for k in range(0, len(X), size):
        rows = order[k : k + size]
        X[rows], Y[rows]


def numpy_take(X, Y, size, epoch):
    order = np.random.default_rng(epoch).permutation(len(X))
    x, y = np.empty((size, X.shape[1]), X.dtype), np.empty(size, Y.dtype)
    for k in range(0, len(X), size):
        rows = order[k : k + size]
        # With the default mode, NumPy would copy through a buffer.
        np.take(X, rows, 0, out=x[: len(rows)], mode="clip")
        np.take(Y, rows, 0, out=y[: len(rows)], mode="clip")


def fastoptim(X, Y, size, epoch):
    for _ in fo.MiniBatches(X, Y, batch_size=size, start=(epoch, 0)):
        pass


def torch_index_select(X, Y, size, epoch):
    X, Y = torch.from_numpy(X), torch.from_numpy(Y)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    for k in range(0, len(X), size):
        rows = order[k : k + size]
        torch.index_select(X, 0, rows), torch.index_select(Y, 0, rows)


def torch_dataloader(X, Y, size, epoch):
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader = torch.utils.data.DataLoader(data, batch_size=size, shuffle=True)
    start = time.perf_counter()
    first = None  # the seconds to the first batch, which hold the order of the whole epoch
    for k, _ in enumerate(loader):
        elapsed = time.perf_counter() - start
        if first is None:
            first = elapsed
        elif elapsed - first > DATALOADER_SECONDS:
            return first + (elapsed - first) / k * (len(loader) - 1)
    return elapsed


WAYS = {"fastoptim": fastoptim, "NumPy X[rows]": numpy_fancy, "NumPy take(out=)": numpy_take}
if torch:
    WAYS |= {"torch index_select": torch_index_select, "torch DataLoader": torch_dataloader}


def epoch_times(mib, repeats):
    """Seconds of an epoch: {(row, batch size): {way: seconds}}."""
    table = {}
    for row, values in ROWS.items():
        n = (mib << 20) // (4 * values)
        X = np.random.default_rng(0).random((n, values), np.float32)
        Y = np.arange(n)
        for size in BATCHES:
            best = dict.fromkeys(WAYS, float("inf"))
            begun, repeat = time.perf_counter(), 0
            while repeat < repeats or time.perf_counter() - begun < CELL_SECONDS:
                for name, way in WAYS.items():
                    if name == "torch DataLoader" and repeat:
                        continue  # slow, and the same each time
                    time.sleep(REST)
                    start = time.perf_counter()
                    scaled = way(X, Y, size, repeat)
                    best[name] = min(best[name], scaled or time.perf_counter() - start)
                repeat += 1
            table[row, size] = best
            line = "  ".join(f"{name} {1e3 * best[name]:9.1f}" for name in WAYS)
            print(f"  rows of {row:6} batches of {size:5}  ms: {line}", flush=True)
    return table


def ns_a_row(row, seconds, mib):
    return 1e9 * seconds / ((mib << 20) // (4 * ROWS[row]))


def print_table(table, mib):
    names = list(WAYS)
    print(f"\n{'row':>6} {'batch':>6}  " + "  ".join(f"{name:>18}" for name in names)
          + "   (ns a row; their time / ours)")
    for (row, size), best in table.items():
        cells = [f"{ns_a_row(row, best[name], mib):9.1f} {best[name] / best['fastoptim']:7.2f}x"
                 for name in names]
        print(f"{row:>6} {size:6}  " + "  ".join(f"{cell:>18}" for cell in cells))


def write_json(path, described, table, mib):
    cells = [{"row": row, "batch": size, "seconds": best} for (row, size), best in table.items()]
    content = {"machine": described, "mib": mib, "epochs": cells}
    path.write_text(json.dumps(content, indent=1) + "\n")


def draw(path, table, mib):
    """A panel for each size of row, a group of bars for each batch size."""
    plotting.save(lambda: _figure(table, mib), path)


def _figure(table, mib):
    names = list(next(iter(table.values())))
    fig = plotting.figure(height=4.0, title="A whole epoch of shuffled mini-batches of (X, Y)")
    panels = fig.subplots(1, len(ROWS), sharey=True)
    for panel, row in zip(panels, ROWS):
        width = 0.8 / len(names)
        for k, name in enumerate(names):
            heights = [ns_a_row(row, table[row, size][name], mib) for size in BATCHES]
            panel.bar(np.arange(len(BATCHES)) + (k - (len(names) - 1) / 2) * width, heights, width,
                      label=name, color=COLOURS[k])
        panel.set_yscale("log")
        panel.set_xticks(range(len(BATCHES)), BATCHES)
        panel.set_xlabel("rows in a batch")
        panel.set_title(f"rows of {row}")
        plotting.bars_only(panel, axis="y")
    panels[0].set_ylabel("ns a row, order included")
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(names))
    return fig


def index_rate(repeats):
    """ns an index, n = 10**8, on one thread, in blocks of 65536."""
    threads = fo.get_num_threads()
    fo.set_num_threads(1)
    p, total = fo.Permutation(10**8), 20_000_000
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for k in range(0, total, 65536):
            p[k : k + 65536]
        best = min(best, time.perf_counter() - start)
    fo.set_num_threads(threads)
    return 1e9 * best / total


def first_batch(repeats):
    """Seconds to the first batch of 512 of 10**8 rows: ours, NumPy's."""
    X = np.ones(10**8, np.float32)
    ours = theirs = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        next(iter(fo.MiniBatches(X, batch_size=512)))
        ours = min(ours, time.perf_counter() - start)
    for _ in range(1):
        start = time.perf_counter()
        X[np.random.default_rng(0).permutation(len(X))[:512]]
        theirs = min(theirs, time.perf_counter() - start)
    return ours, theirs


MEMORY = """
import sys, numpy as np, fastoptim as fo
n, ours = int(sys.argv[1]), sys.argv[2] == "fastoptim"
X = np.ones(n, np.uint8)
def peak():
    return int([line for line in open("/proc/self/status") if "VmHWM" in line][0].split()[1])
for x in fo.MiniBatches(X[:100_000], batch_size=8192):
    pass
before = peak()
if ours:
    for x in fo.MiniBatches(X, batch_size=8192):
        pass
else:
    order = np.random.default_rng(0).permutation(n)
    for k in range(0, n, 8192):
        X[order[k : k + 8192]]
print(peak() - before)
"""


def memory(n, way):
    """KiB by which an epoch raises the peak memory of a process that has made small batches."""
    return in_new_process(MEMORY, n, way)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=128, help="of X (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    described = machine.describe() | {"torch": torch.__version__ if torch else None}
    print(machine.header(described))
    print(f"torch {torch.__version__}" if torch else "no torch")
    if torch:
        torch.set_num_threads(fo.get_num_threads())
    print(f"\nindex, n = 10**8, one thread: {index_rate(args.repeats):.2f} ns")
    ours, theirs = first_batch(args.repeats)
    print(f"first batch of 10**8 rows: fastoptim {1e3 * ours:.3f} ms, NumPy {1e3 * theirs:.0f} ms")
    if os.path.exists("/proc/self/status"):
        for way, n in itertools.product(("fastoptim", "NumPy"), (10**6, 10**7, 10**8)):
            print(f"peak memory of an epoch, n = {n:>9}: {way:9} +{memory(n, way) / 1024:.1f} MiB")
    print(f"\nan epoch of {args.mib} MiB:")
    table = epoch_times(args.mib, args.repeats)
    print_table(table, args.mib)
    if args.json:
        write_json(args.json, described, table, args.mib)
    if args.picture:
        draw(args.picture, table, args.mib)


if __name__ == "__main__":
    main()
