"""Our Adam step beside that of other libraries, in one process: ``python bench/peers.py``.

A peer takes part if it is installed, in the form that its documentation calls fastest: fused where
it offers that, jitted with donated buffers, preallocated buffers, as many threads as ours. Its
result is compared with ours before it is timed.

DeepSpeed compiles its step at first use, which takes a minute or two; --without deepspeed.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from common import count, prepare

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
CHECK_STEPS = 3
SIZES = [10**k for k in range(3, 9)]

# A maker gets a parameter and a gradient, NumPy arrays of its own. It returns the step and a
# function that returns the parameter.
Made = tuple[Callable[[], object], Callable[[], np.ndarray]]


def fastoptim(p: np.ndarray, g: np.ndarray) -> Made:
    import fastoptim as fo

    return fo.Adam(p, grads=g, lr=LR).step, lambda: p


def numpy_in_place(p: np.ndarray, g: np.ndarray) -> Made:
    from fastoptim.bench.numpy_steps import IN_PLACE

    return IN_PLACE["adam"](p, g), lambda: p


def _torch(p: np.ndarray, g: np.ndarray, make: Callable) -> Made:
    import torch

    parameter = torch.nn.Parameter(torch.from_numpy(p))  # the same memory
    parameter.grad = torch.from_numpy(g)
    return make(torch, [parameter]).step, lambda: p


def torch_fused(p: np.ndarray, g: np.ndarray) -> Made:
    return _torch(p, g, lambda torch, ps: torch.optim.Adam(ps, lr=LR, fused=True))


def torch_foreach(p: np.ndarray, g: np.ndarray) -> Made:
    return _torch(p, g, lambda torch, ps: torch.optim.Adam(ps, lr=LR, foreach=True))


def deepspeed(p: np.ndarray, g: np.ndarray) -> Made:
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    return _torch(p, g, lambda torch, ps: DeepSpeedCPUAdam(ps, lr=LR, adamw_mode=False))


def numba(p: np.ndarray, g: np.ndarray) -> Made:
    step = _numba_kernel()
    m, v = np.full_like(p, 0), np.full_like(p, 0)
    beta1, weight1, beta2, weight2, eps = map(
        np.float32, (BETA1, 1 - BETA1, BETA2, 1 - BETA2, EPS))
    t = 0

    def one_step():
        nonlocal t
        t += 1
        step(p, g, m, v, beta1, weight1, beta2, weight2, np.float32(LR / (1 - BETA1**t)),
             np.float32((1 - BETA2**t) ** -0.5), eps)

    return one_step, lambda: p


@cache
def _numba_kernel() -> Callable:
    """The straightforward loop in numba, compiled once."""
    from numba import njit, prange

    # error_model="numpy": else each division is checked for zero, which prevents vectorization.
    @njit(parallel=True, fastmath=False, error_model="numpy")
    def step(p, g, m, v, beta1, weight1, beta2, weight2, rate, correction, eps):
        for i in prange(p.size):
            m[i] = beta1 * m[i] + weight1 * g[i]
            v[i] = beta2 * v[i] + weight2 * (g[i] * g[i])
            p[i] -= rate * m[i] / (np.sqrt(v[i]) * correction + eps)

    return step


def optax(p: np.ndarray, g: np.ndarray) -> Made:
    import jax
    import optax

    rule = optax.adam(LR)

    def update(p, state, g):
        updates, state = rule.update(g, state, p)
        return optax.apply_updates(p, updates), state

    update = jax.jit(update, donate_argnums=(0, 1))  # p and the state are written in place
    p, g = jax.numpy.array(p), jax.numpy.array(g)
    state = rule.init(p)

    def step():
        nonlocal p, state
        p, state = update(p, state, g)
        p.block_until_ready()

    return step, lambda: np.asarray(p)


def thinc(p: np.ndarray, g: np.ndarray) -> Made:
    from thinc.api import NumpyOps

    kernel = NumpyOps().adam  # the kernel that its Adam calls
    m, v, cleared = np.full_like(p, 0), np.full_like(p, 0), np.full_like(p, 0)
    t = 0

    def step():
        nonlocal t
        t += 1
        # The kernel overwrites the gradient with zeros. The moments would decay to subnormal
        # numbers, which are slow; so the gradient is copied in again, for 2 to 5 % of the time.
        np.copyto(cleared, g)
        kernel(p, cleared, m, v, BETA1, BETA2, EPS, LR * (1 - BETA2**t) ** 0.5 / (1 - BETA1**t))

    return step, lambda: p


PEERS = {  # name -> (the modules that must be installed, maker)
    "fastoptim": ((), fastoptim),
    "torch fused": (("torch",), torch_fused),
    "torch foreach": (("torch",), torch_foreach),
    "deepspeed": (("deepspeed", "torch"), deepspeed),
    "numba": (("numba",), numba),
    "optax": (("optax", "jax"), optax),
    "thinc": (("thinc",), thinc),
    "NumPy in place": ((), numpy_in_place),
}


def versions(names: Sequence[str]) -> dict[str, str]:
    modules = dict.fromkeys(module for name in names for module in PEERS[name][0])
    return {name: importlib.import_module(name).__version__ for name in modules}


def check(name: str, n: int) -> None:
    """Raises AssertionError unless the peer's parameters equal ours within 1 % of the steps."""
    from fastoptim.bench.contenders import make_arrays

    found = []
    for _, maker in (PEERS["fastoptim"], PEERS[name]):
        step, parameter = maker(*make_arrays(n, "float32"))
        for _ in range(CHECK_STEPS):
            step()
        found.append(np.array(parameter()))
    apart = float(np.abs(found[0] - found[1]).max())
    if not apart <= 0.01 * CHECK_STEPS * LR:
        raise AssertionError(f"{name} must take our steps: after {CHECK_STEPS} of length {LR} a "
                             f"parameter differs by {apart:.2g}")


def tables(rows: list, names: Sequence[str]) -> str:
    from fastoptim.bench.report import figure_text, size_text

    def block(title: str, cell: Callable) -> list[str]:
        head = "".join(f"{size_text(row.n):>9}" for row in rows)
        return ["", f"{title:<16}{head}"] + [
            f"{name:<16}" + "".join(f"{cell(row, name):>9}" for row in rows) for name in names]

    def ratio(row, name: str) -> str:
        return f"{row.timings.ratio(name, to='fastoptim'):.2f}"

    return "\n".join(
        block("ns an element", lambda row, name: figure_text(row.ns(name)))
        + block("theirs / ours", ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=count, nargs="+", default=SIZES)
    parser.add_argument("--without", nargs="+", default=[], choices=list(PEERS)[1:])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each size")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    prepare(args.threads)

    from fastoptim.bench import contenders, machine, report
    from fastoptim.bench.timing import repeated, take_turns

    names = [name for name, (modules, _) in PEERS.items() if name not in args.without
             and all(importlib.util.find_spec(module) for module in modules)]
    described = machine.describe() | {"peers": versions(names)}
    print(machine.header(described))
    print(", ".join(f"{name} {version}" for name, version in described["peers"].items()))
    print("Adam, float32, one array; the contenders take turns; medians.")

    rows = []
    for n in args.sizes:
        needed = (4 * (len(names) + 1) + 4) * n * 4  # including temporaries
        if needed > 0.9 * machine.available_memory():
            print(f"{report.size_text(n)}: left out, needs more memory than is free")
            continue
        for name in names:
            check(name, min(n, 1_000_003))
        works = {"roofline": contenders.roofline(n, "float32", 2)}
        for name in names:
            step, _ = PEERS[name][1](*contenders.make_arrays(n, "float32"))
            works[name] = repeated(step)
        rows.append(report.Row("adam", "float32", n, take_turns(works, seconds=args.seconds)))
        print(f"{report.size_text(n)}: " + ", ".join(
            f"{name} {rows[-1].ns(name):.3f}" for name in works), flush=True)
    print(tables(rows, ["roofline", *names]))
    if args.json:
        report.write_json(args.json, described, rows)
    if args.picture:
        report.draw(args.picture, described, rows, "One Adam step, by library")


if __name__ == "__main__":
    main()
