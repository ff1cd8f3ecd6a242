"""The overhead of a step, beyond its elements: ``python bench/overhead.py``.

Small models, the functional layer, subnormal moments, long lists of tensors, threads, first steps,
and the import. Adam, float32; torch's fused Adam on the same lists if torch is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from common import count, in_new_process, prepare
from peers import LR

MODEL = [(784, 128), (128,), (128, 64), (64,), (64, 10), (10,)]
HUNDRED = [(100,)] * 100
FIVE_HUNDRED = [(int(n),) for n in np.geomspace(1e3, 1e6, 500)]
STUCK = 5e-45  # 0.9 times this subnormal number is rounded to it again
ROUNDS = 9  # processes started for the import and for the first steps


def _arrays(shapes: Sequence[tuple]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parameters and gradients, every page touched."""
    from fastoptim.bench.contenders import make_arrays

    pairs = [make_arrays(int(np.prod(shape)), "float32") for shape in shapes]
    return tuple([pair[k].reshape(shape) for pair, shape in zip(pairs, shapes)] for k in (0, 1))


def _bound(shapes: Sequence[tuple]):
    import fastoptim as fo

    params, grads = _arrays(shapes)
    return fo.Adam(tuple(params), grads=tuple(grads), lr=LR).step


def _by_name(shapes: Sequence[tuple]):
    import fastoptim as fo

    params, grads = _arrays(shapes)
    named = {f"p{k}": p for k, p in enumerate(params)}  # a step checks whether one was rebound
    return fo.Adam(named, grads=tuple(grads), lr=LR).step


def _fresh(shapes: Sequence[tuple]):
    """Adam that gets other array objects as gradients in every step, as from a function."""
    import fastoptim as fo

    params, grads = _arrays(shapes)
    step = fo.Adam(params, lr=LR).step
    # Two sets, so that no step gets the arrays of the step before. They are allocated beforehand,
    # since only the step is timed.
    sets = [grads, [g.copy() for g in grads]]
    turn = 0

    def one_step():
        nonlocal turn
        turn ^= 1
        step(sets[turn])

    return one_step


def _torch(shapes: Sequence[tuple]):
    import torch

    params, grads = _arrays(shapes)
    parameters = [torch.nn.Parameter(torch.from_numpy(p)) for p in params]
    for parameter, g in zip(parameters, grads):
        parameter.grad = torch.from_numpy(g)
    return torch.optim.Adam(parameters, lr=LR, fused=True).step


def lists(shapes: Sequence[tuple], seconds: float) -> dict[str, float]:
    """us a step: bound gradients, a dict, new gradients, torch; and the roofline."""
    from fastoptim.bench.contenders import roofline
    from fastoptim.bench.timing import repeated, take_turns

    makers = {"bound": _bound, "by name": _by_name, "fresh": _fresh}
    if importlib.util.find_spec("torch"):
        makers["torch fused"] = _torch
    n = sum(int(np.prod(shape)) for shape in shapes)
    works = {"roofline": roofline(n, "float32", 2)}
    works |= {name: repeated(maker(shapes)) for name, maker in makers.items()}
    timings = take_turns(works, seconds=seconds)
    return {name: timings[name] / 1000 for name in works}


def small_calls(n: int, seconds: float) -> dict[str, float]:
    """us a step of Adam on one array of n elements, by each API and in NumPy."""
    import fastoptim as fo
    from fastoptim.bench.contenders import make_arrays
    from fastoptim.bench.numpy_steps import IN_PLACE, ONE_LINER
    from fastoptim.bench.timing import repeated, take_turns

    def functional():
        (p, g), (m, v), t = make_arrays(n, "float32"), np.zeros((2, n), np.float32), 0

        def step():
            nonlocal t
            t += 1
            fo.adam_(p, g, m, v, t=t, lr=LR)

        return step

    jobs = {"Adam, bound": _bound([(n,)]), "Adam, fresh": _fresh([(n,)]), "adam_": functional()}
    for name, steps in (("NumPy in place", IN_PLACE), ("NumPy one-liner", ONE_LINER)):
        jobs[name] = steps["adam"](*make_arrays(n, "float32"))
    works = {name: repeated(job) for name, job in jobs.items()}
    timings = take_turns(works, seconds=seconds)
    return {name: timings[name] / 1000 for name in works}


def after_pauses(shapes: Sequence[tuple], seconds: float, pause: float = 5e-4) -> dict[str, float]:
    """us a step by number of threads, each after a pause as long as gradients would take."""
    import fastoptim as fo

    step, threads = _bound(shapes), fo.get_num_threads()
    found: dict[str, list[int]] = {"1": [], str(threads): []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, times in found.items():
            fo.set_num_threads(int(name))
            begin = time.perf_counter_ns()
            while time.perf_counter_ns() - begin < pause * 1e9:
                pass
            begin = time.perf_counter_ns()
            step()
            times.append(time.perf_counter_ns() - begin)
    fo.set_num_threads(threads)
    return {name: median(times) / 1000 for name, times in found.items()}


def stuck_moments(shapes: Sequence[tuple], seconds: float, share: float = 0.07) -> dict[str, float]:
    """Time of a step where `share` of the first moments are subnormal / where none is; ours and
    torch's."""
    import fastoptim as fo
    from fastoptim.bench.timing import repeated, take_turns

    n = sum(int(np.prod(shape)) for shape in shapes)
    dead = np.random.default_rng(0).random(n) < share

    def ours(with_dead: bool):
        p, g = np.full(n, 0.1, np.float32), np.full(n, 0.01, np.float32)
        opt = fo.Adam(p, grads=g, lr=LR)
        opt.step()
        if with_dead:
            g[dead] = 0
            opt.state[0]["m"][dead] = STUCK
        return opt.step

    def torchs(with_dead: bool):
        import torch

        p = torch.nn.Parameter(torch.full((n,), 0.1))
        p.grad = torch.full((n,), 0.01)
        opt = torch.optim.Adam([p], lr=LR, fused=True)
        opt.step()
        if with_dead:
            p.grad[torch.from_numpy(dead)] = 0
            opt.state[p]["exp_avg"][torch.from_numpy(dead)] = STUCK
        return opt.step

    makers = {"fastoptim": ours}
    if importlib.util.find_spec("torch"):
        makers["torch fused"] = torchs
    works = {(name, with_dead): repeated(make(with_dead)) for name, make in makers.items()
             for with_dead in (False, True)}
    timings = take_turns(works, seconds=seconds)
    return {name: timings.ratio((name, True), to=(name, False)) for name in makers}


def many_against_one(seconds: float) -> float:
    """Time of 500 tensors of 10^3 to 10^6 elements / that of one tensor of the same total."""
    from fastoptim.bench.timing import repeated, take_turns

    total = sum(n for n, in FIVE_HUNDRED)
    works = {"many": repeated(_bound(FIVE_HUNDRED)), "one": repeated(_bound([(total,)]))}
    return take_turns(works, seconds=seconds).ratio("many", to="one")


def scaling(n: int, threads: int, seconds: float) -> dict[str, float]:
    """Time on one thread / time on all: our step, and the plain loop."""
    import fastoptim as fo
    from fastoptim.bench.contenders import roofline
    from fastoptim.bench.timing import repeated, take_turns

    works = {"step": repeated(_bound([(n,)])), "roofline": roofline(n, "float32", 2)}
    turns = {}
    for name, work in works.items():
        for k in (1, threads):
            def on_threads(times: int, work=work, k=k) -> None:
                fo.set_num_threads(k)
                work(times)

            turns[f"{name} {k}"] = on_threads
    timings = take_turns(turns, seconds=seconds)
    fo.set_num_threads(threads)
    return {name: timings.ratio(f"{name} 1", to=f"{name} {threads}") for name in works}


_FIRST_STEPS = """
import sys, time
import numpy as np
import fastoptim as fo
n = int(sys.argv[1])
p, g = np.full(n, 0.5, np.float32), np.full(n, 0.25, np.float32)
opt = fo.Adam(p, grads=g)
times = []
time.perf_counter_ns()  # the first call of the clock takes as long as a step
for _ in range(3):
    start = time.perf_counter_ns()
    opt.step()
    times.append((time.perf_counter_ns() - start) / 1000)
print(*times)
"""

_IMPORT = """
import time
import numpy
start = time.perf_counter_ns()
import fastoptim
print((time.perf_counter_ns() - start) / 1e6)
"""


def first_steps(n: int) -> list[float]:
    """us of the first three steps of a process; medians."""
    return [median(times) for times in
            zip(*(in_new_process(_FIRST_STEPS, n) for _ in range(ROUNDS)))]


def import_time() -> float:
    """ms of the import after NumPy's; median. The first import, which fills the file cache, is not
    counted."""
    return median([in_new_process(_IMPORT)[0] for _ in range(ROUNDS + 1)][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each comparison")
    parser.add_argument("--large", type=count, default=10**8,
                        help="elements for the scaling by threads (default: 1e8)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    prepare(args.threads)

    from fastoptim.bench import machine, report

    found = {"machine": machine.describe()}
    print(machine.header(found["machine"]))
    models = {"784-128-64-10, 6 tensors": MODEL, "6 tensors of 1, the call alone": [(1,)] * 6,
              "100 tensors of 100": HUNDRED}
    for title, shapes in models.items():
        found[title] = us = lists(shapes, args.seconds)
        print(f"\n{title}: us a step")
        for name, value in us.items():
            print(f"  {name:<12}{value:>10.2f}"
                  + (f"{value - us['roofline']:>10.2f} over the roofline"
                     if name != "roofline" else ""))
    for n in (1, 100):
        found[f"calls on {n}"] = us = small_calls(n, args.seconds)
        print(f"\none array of {n}: us a step: "
              + ", ".join(f"{name} {value:.2f}" for name, value in us.items()))
    found["after pauses"] = us = after_pauses(MODEL, args.seconds)
    print("\n784-128-64-10, each step after a pause of 0.5 ms: us a step on "
          + ", on ".join(f"{name} thread{'s' * (name != '1')} {value:.1f}"
                         for name, value in us.items()))
    found["stuck moments"] = ratios = stuck_moments(MODEL, args.seconds)
    print("as many elements, 7 % of the first moments subnormal: "
          + ", ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
          + " times the time without any")
    found["500 tensors to one"] = many_against_one(args.seconds)
    print(f"\n500 tensors of 10^3 to 10^6 elements take {found['500 tensors to one']:.3f} "
          "times what one of the same total takes")
    if args.threads > 1:
        found["threads"] = scaling(args.large, args.threads, args.seconds)
        print(f"{args.threads} threads at {report.size_text(args.large)}: the step is "
              f"{found['threads']['step']:.2f} times as fast as on one, the plain loop "
              f"{found['threads']['roofline']:.2f}")
    print("\nthe first steps of a process: us")
    found["first steps"] = {}
    for n in (10**3, 10**5, 10**7):
        found["first steps"][n] = us = first_steps(n)
        print(f"  {report.size_text(n):<6}" + "".join(f"{value:>10.1f}" for value in us)
              + f"   first/second {us[0] / us[1]:.2f}")
    found["import ms"] = import_time()
    print(f"\nimport fastoptim after numpy: {found['import ms']:.1f} ms")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
