"""One epoch of training, end to end: ``python bench/epoch.py``.

A 784-128-64-10 network with ReLU and softmax, Adam, batches of 64 out of 60 000 rows, float32.
The rows are synthetic: ten patterns of pixels, each row one of them with noise, in the size and
number of MNIST's. The contenders have the same initial weights and the same batches:

    NumPy one-liner  fancy indexing, gradients, Adam in one-line expressions
    NumPy in place   the same, but with preallocated buffers in Adam
    NumPy+fastoptim  the same gradients, MiniBatches, Adam with bound gradients
    torch            eager, index_select, fused Adam
    torch DataLoader eager, DataLoader with a BatchSampler, fused Adam

In every round each trains for one epoch from the start; they take turns. The losses must agree:
exactly where the gradients are the same code, within 0.2 % with torch, which sums in another order.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from common import prepare

LAYERS = (784, 128, 64, 10)
BATCH = 64
TOLERANCE = 2e-3  # of the epoch's mean loss, between NumPy and torch
PARTS = ("batches", "gradients", "step")


def make_data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows in [0, 1], a fifth of the pixels bright, and their classes."""
    rng = np.random.default_rng(seed)
    patterns = (rng.random((LAYERS[-1], LAYERS[0])) < 0.2).astype(np.float32)
    y = rng.integers(0, LAYERS[-1], n)
    x = rng.standard_normal((n, LAYERS[0]), dtype=np.float32)
    x *= 0.5
    x += patterns[y]
    return np.clip(x, 0, 1, out=x), y


def make_weights() -> dict[str, np.ndarray]:
    from fastoptim.demo import network

    return network.init(*LAYERS, seed=1)




# A contender is a function of (x, y, order) that returns (batches, loss, step): an iterable of
# (x, y), a function of both that computes the gradients and returns the loss, and the step.
Made = tuple[Iterator, Callable, Callable]


def _network(y: np.ndarray):
    """The NumPy network: one-hot labels, parameters, gradients, and the function of a batch."""
    from fastoptim.demo import network

    params = make_weights()
    grads = {name: np.zeros_like(p) for name, p in params.items()}
    one_hot = np.eye(LAYERS[-1], dtype=np.float32)[y]
    return one_hot, params, grads, lambda x, y: network.gradients(params, x, y, grads)


def _numpy(kind: str) -> Callable[..., Made]:
    def make(x: np.ndarray, y: np.ndarray, order: np.ndarray) -> Made:
        from fastoptim.bench import numpy_steps

        y, params, grads, loss = _network(y)
        adam = getattr(numpy_steps, kind)["adam"]
        steps = [adam(params[name], grads[name]) for name in params]

        def batches():
            np.random.default_rng(0).permutation(len(x))  # timed; ours is used
            for k in range(0, len(x), BATCH):
                index = order[k:k + BATCH]
                yield x[index], y[index]

        def step():
            for one in steps:
                one()

        return batches(), loss, step

    return make


def with_fastoptim(x: np.ndarray, y: np.ndarray, order: np.ndarray) -> Made:
    import fastoptim as fo

    y, params, grads, loss = _network(y)
    step = fo.Adam(params, grads=grads, lr=1e-3).step
    return iter(fo.MiniBatches(x, y, batch_size=BATCH, seed=0)), loss, step


def _torch(make_batches: Callable) -> Callable[..., Made]:
    def make(x: np.ndarray, y: np.ndarray, order: np.ndarray) -> Made:
        import torch

        layers = [torch.nn.Linear(*sizes) for sizes in zip(LAYERS, LAYERS[1:])]
        with torch.no_grad():
            weights = make_weights()
            for k, layer in enumerate(layers, 1):
                layer.weight.copy_(torch.from_numpy(weights[f"W{k}"].T.copy()))
                layer.bias.copy_(torch.from_numpy(weights[f"b{k}"]))
        network = torch.nn.Sequential(
            layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
        adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

        def loss(x, y) -> float:
            adam.zero_grad()
            value = torch.nn.functional.cross_entropy(network(x), y)
            value.backward()
            return value.item()

        batches = make_batches(torch, *map(torch.from_numpy, (x, y, order)))
        return iter(batches), loss, adam.step

    return make


def _index_select(torch, x, y, order):
    torch.randperm(len(x))  # timed, since torch would need it; ours is used
    for index in order.split(BATCH):
        yield x.index_select(0, index), y.index_select(0, index)


def _data_loader(torch, x, y, order):
    from torch.utils.data import BatchSampler, DataLoader, TensorDataset

    class Order:  # RandomSampler, but with our permutation
        def __iter__(self):
            torch.randperm(len(x))
            yield from order.tolist()

    sampler = BatchSampler(Order(), BATCH, drop_last=False)
    return DataLoader(TensorDataset(x, y), sampler=sampler, batch_size=None)


CONTENDERS = {
    "NumPy one-liner": _numpy("ONE_LINER"),
    "NumPy in place": _numpy("IN_PLACE"),
    "NumPy+fastoptim": with_fastoptim,
    "torch": _torch(_index_select),
    "torch DataLoader": _torch(_data_loader),
}


def epoch(made: Made) -> tuple[list[float], float]:
    """Runs an epoch; returns the seconds in each of PARTS and the mean loss."""
    batches, loss, step = made
    clock = time.perf_counter_ns
    seconds, total, count = [0, 0, 0], 0.0, 0
    begin = clock()
    for x, y in batches:
        got = clock()
        value = loss(x, y)
        known = clock()
        step()
        done = clock()
        total += value * len(y)
        count += len(y)
        seconds[0] += got - begin
        seconds[1] += known - got
        seconds[2] += done - known
        begin = done
    return [s / 1e9 for s in seconds], total / count


def check(losses: dict[str, float]) -> None:
    """Raises AssertionError unless all losses agree."""
    ours = losses["NumPy+fastoptim"]
    for name, loss in losses.items():
        allowed = TOLERANCE * ours if name.startswith("torch") else 0.0
        if not abs(loss - ours) <= allowed:
            raise AssertionError(f"the losses must agree, got {losses}")


def table(results: dict) -> str:
    lines = [f"{'seconds an epoch':<18}{'all':>8}" + "".join(f"{part:>11}" for part in PARTS)
             + f"{'step share':>12}{'of torch':>10}{'loss':>10}"]
    best_torch = min((r["total"] for name, r in results.items() if name.startswith("torch")),
                     default=None)
    for name, r in results.items():
        lines.append(
            f"{name:<18}{r['total']:>8.3f}" + "".join(f"{r[part]:>11.3f}" for part in PARTS)
            + f"{r['step'] / r['total']:>11.1%} "
            + (f"{r['total'] / best_torch:>10.2f}" if best_torch else f"{'-':>10}")
            + f"{r['loss']:>10.4f}")
    one_liner, in_place = (results[name]["total"] / results["NumPy+fastoptim"]["total"]
                           for name in ("NumPy one-liner", "NumPy in place"))
    return "\n".join(lines + [f"NumPy+fastoptim is {one_liner:.1f} and {in_place:.1f} times as "
                              "fast as NumPy alone (one-liner, in place)."])


def draw(path: Path, machine: dict, results: dict, rows: int) -> None:
    from fastoptim import plotting

    plotting.save(lambda: _figure(machine, results, rows), path)


def _figure(machine: dict, results: dict, rows: int):
    from fastoptim import plotting
    from fastoptim.bench.machine import footnote

    colours = {"batches": plotting.SKY, "gradients": plotting.GREY, "step": plotting.OURS}
    fig = plotting.figure(height=3.4, title=f"One epoch: a {'-'.join(map(str, LAYERS))} network, "
                                            f"{rows:,} rows in batches of {BATCH}")
    panel = fig.subplots()
    names = list(results)[::-1]
    left = np.zeros(len(names))
    for part in PARTS:
        widths = np.array([results[name][part] for name in names])
        panel.barh(names, widths, left=left, color=colours[part], label=part, height=0.6)
        left += widths
    for y, total in enumerate(left):
        panel.text(total, y, f"  {total:.2f} s", va="center")
    panel.set_xlabel("seconds")
    panel.set_xlim(0, 1.12 * left.max())
    plotting.bars_only(panel, axis="x")
    plotting.footnote(fig, footnote(machine))
    fig.legend(loc="outside lower right", ncols=len(PARTS))
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blas-threads", type=int,
                        help="of NumPy's matrix products (default: --threads)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    prepare(args.threads)  # without effect on NumPy's matrix products, whose threads exist
    from threadpoolctl import threadpool_limits

    import fastoptim as fo
    from fastoptim.bench import machine

    blas_threads = args.blas_threads or args.threads
    threadpool_limits(blas_threads, user_api="blas")

    names = [name for name in CONTENDERS
             if not name.startswith("torch") or importlib.util.find_spec("torch")]
    described = machine.describe()
    print(machine.header(described))
    print(f"{args.rows:,} synthetic rows, batches of {BATCH}, medians of {args.rounds} rounds; "
          f"matrix products on {blas_threads}")
    x, y = make_data(args.rows)
    order = np.concatenate(list(fo.MiniBatches(np.arange(args.rows), batch_size=BATCH, seed=0)))

    gc.disable()
    for name in names:  # warm-up: threads, imports, allocators
        few = slice(0, 20 * BATCH)
        epoch(CONTENDERS[name](x[few], y[few], np.arange(len(x[few]))))
    rounds = {name: [] for name in names}
    for _ in range(args.rounds):
        losses = {}
        for name in names:
            seconds, losses[name] = epoch(CONTENDERS[name](x, y, order))
            rounds[name].append(seconds)
        check(losses)
        gc.collect()
    results = {}
    for name in names:
        # The parts of the round with the median total, so that they add up to it.
        middle = sorted(rounds[name], key=sum)[len(rounds[name]) // 2]
        results[name] = dict(zip(PARTS, middle)) | {
            "total": median(map(sum, rounds[name])) if args.rounds % 2 else sum(middle),
            "loss": losses[name]}
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(
            {"machine": described, "rows": args.rows, "batch": BATCH, "rounds": args.rounds,
             "blas_threads": blas_threads, "seconds": results}, indent=1) + "\n")
    if args.picture:
        draw(args.picture, described, results, args.rows)


if __name__ == "__main__":
    main()
