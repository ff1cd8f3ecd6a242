"""Measures one loop in this process: ``python -m loops.process NAME PARAMETERS SECONDS``.

Blocks of iterations take turns, A B C A B C: each contender's gradients with the step right after
them and after each pause; and our gradients without a step. Prints JSON: medians in milliseconds.
``bench/loop.py`` starts such processes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import fastoptim as fo

from . import OURS, Loop, find

WARM_UP, TIMED = 2, 8  # iterations of a block: the first ones meet what another block left
MIN_ROUNDS, MAX_ROUNDS = 3, 60
PAUSES = {"nothing": (0.0, 0.5, 5.0, 20.0)}  # ms between the gradients and the step
PAUSES_ELSEWHERE = (0.0, 20.0)


class Times(NamedTuple):
    """Milliseconds of every iteration."""

    gradients: list[float]
    steps: list[float]


def block(gradients: Callable, step: Callable | None, pause: float, times: Times) -> None:
    """Appends the times of some iterations."""
    clock = time.perf_counter
    for k in range(WARM_UP + TIMED):
        start = clock()
        gradients()
        end = clock()
        if pause:
            time.sleep(pause / 1000)
        begin = clock()
        if step is not None:
            step()
        done = clock()
        if k >= WARM_UP:
            times.gradients.append(1000 * (end - start))
            times.steps.append(1000 * (done - begin))


def measure(loop: Loop, pauses: tuple[float, ...], seconds: float) -> dict:
    """{contender: {pause: ms a step, "gradients": ms with a step right after them}}, and more."""
    ways = [(name, pause) for name in loop.contenders for pause in pauses]
    ways.append((OURS, None))
    times = {way: Times([], []) for way in ways}
    for contender in loop.contenders.values():  # threads, buffers, compilation at first use
        block(*contender, 0.0, Times([], []))
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < MIN_ROUNDS or (time.perf_counter() < end and rounds < MAX_ROUNDS):
        for name, pause in ways:
            gradients, step = loop.contenders[name]
            block(gradients, None if pause is None else step, pause or 0.0, times[name, pause])
        rounds += 1
    ms = {name: {f"{pause:g}": median(times[name, pause].steps) for pause in pauses}
          | {"gradients": median(times[name, 0.0].gradients)} for name in loop.contenders}
    # Within a round, as other load slows both.
    ratios = (median(times[OURS, 0.0].gradients[k:k + TIMED])
              / median(times[OURS, None].gradients[k:k + TIMED])
              for k in range(0, rounds * TIMED, TIMED))
    return {"ms": ms, "gradients_without_ms": median(times[OURS, None].gradients),
            "gradients_ratio": median(ratios)}


def main() -> None:
    name, n, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    loop = find(name)[1](n)
    found = measure(loop, PAUSES.get(name, PAUSES_ELSEWHERE), seconds)
    print(json.dumps({
        "loop": name, "title": loop.title, "n": loop.n, "tensors": loop.tensors,
        "threads": fo.get_num_threads(), **found,
        # Which threads a step works on, if this version has a choice, and why.
        "runtime": {key: str(value) for key, value in fo.build_info().items()
                    if key.startswith(("threading", "openmp"))},
    }))


if __name__ == "__main__":
    main()
