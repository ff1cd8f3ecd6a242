"""Timing that is robust against other load on the machine.

Contenders take turns, A B C A B C, so that other load slows all of them; a time is the median of
the rounds, a ratio the median of the ratios within each round.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from statistics import median, quantiles

MIN_ROUNDS, MAX_ROUNDS = 7, 51
SAMPLE = 0.01  # the least seconds of a sample: long compared with the clock and a wake-up
# Seconds of sleep before each sample. The threads of an OpenMP runtime keep spinning for some
# milliseconds after their work, on the processors that the next contender needs.
REST = 0.01

Work = Callable[[int], object]  # repeats its job the given number of times


def repeated(job: Callable[[], object]) -> Work:
    """A job as Work: the job is called the given number of times in a row."""

    def work(times: int) -> None:
        for _ in repeat(None, times):
            job()

    return work


def _seconds(work: Work, times: int) -> float:
    start = time.perf_counter_ns()
    work(times)
    return (time.perf_counter_ns() - start) / 1e9


def _calls_per_sample(work: Work) -> tuple[int, float]:
    """Returns the number of calls of a sample, and the seconds that such a sample takes.

    The calls made to find it are the warm-up: they touch every page, start the threads, run
    compilation at first use, and are not counted.
    """
    work(1)
    times = 1
    while (taken := _seconds(work, times)) < SAMPLE:
        times = max(2 * times, min(10 * times, int(1.2 * SAMPLE / max(taken, 1e-9) * times)))
    return times, taken


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that carries what was measured before it."""

    def __init__(self, timings: Timings | None) -> None:
        super().__init__()
        self.timings = timings  # None if fewer than two rounds were done


@dataclass(frozen=True)
class Timings:
    """Nanoseconds a call: for each contender, one value a round."""

    rounds: Mapping[str, list[float]]

    def __getitem__(self, name: str) -> float:
        return median(self.rounds[name])

    def ratio(self, name: str, to: str) -> float:
        """The contender's time / that of `to`."""
        pairs = zip(self.rounds[name], self.rounds[to], strict=True)
        return median(a / b for a, b in pairs)

    def as_dict(self, per: float = 1.0) -> dict[str, dict[str, float]]:
        """For JSON: median, quartiles and number of rounds, each figure divided by `per`."""
        return {
            name: dict(zip(("q1", "median", "q3"), (x / per for x in quantiles(values, n=4)),
                           strict=True), rounds=len(values))
            for name, values in self.rounds.items()
        }


def take_turns(
    contenders: Mapping[str, Work],
    *,
    seconds: float = 5.0,
    tick: Callable[[float], object] = lambda share: None,
) -> Timings:
    """Time every contender in turn for about `seconds`, and for at least MIN_ROUNDS rounds.

    `tick` is called after each round with the fraction of all rounds that a round is. A
    KeyboardInterrupt becomes an Interrupted, with the Timings of the whole rounds before it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        calls, per_round = {}, 0.0
        for name, work in contenders.items():
            calls[name], taken = _calls_per_sample(work)
            per_round += taken + REST
        n_rounds = int(seconds / per_round)
        n_rounds = min(max(n_rounds, MIN_ROUNDS), MAX_ROUNDS)
        for _ in range(n_rounds):
            for name, work in contenders.items():
                time.sleep(REST)
                if calls[name] > 1:
                    work(1)  # warms the caches and wakes the threads
                rounds[name].append(_seconds(work, calls[name]) * 1e9 / calls[name])
            tick(1 / n_rounds)
        return Timings(rounds)
    except KeyboardInterrupt as interrupt:
        whole = min(map(len, rounds.values()), default=0)
        done = {name: values[:whole] for name, values in rounds.items()}
        raise Interrupted(Timings(done) if whole > 1 else None) from interrupt
    finally:
        if was_enabled:
            gc.enable()
