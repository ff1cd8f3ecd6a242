"""The contenders: our step, two NumPy versions, and the roofline; each has its own arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fastoptim as fo
from fastoptim import _core, reference

from .numpy_steps import IN_PLACE, LR, ONE_LINER, Step
from .timing import Work, repeated, take_turns

RULES = {"sgd": fo.SGD, "momentum": fo.Momentum, "rmsprop": fo.RMSProp, "adam": fo.Adam}
N_STATES = {facts.name: len(facts.states) for facts in _core.rules() if not facts.selected_by}
# From here on one thread was never faster than two, and trying it would take long.
LARGE = 10_000_000


def make_arrays(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A parameter and a gradient, every page touched, without values that become subnormal."""
    rng = np.random.default_rng(0)
    p, g = (np.resize(rng.standard_normal(65_536).astype(dtype), n) for _ in range(2))
    return p, g


def fastoptim(rule: str, p: np.ndarray, g: np.ndarray) -> Step:
    """Our step, the gradient bound."""
    optimizer: Callable[..., fo.Optimizer] = RULES[rule]
    return optimizer(p, grads=g, lr=LR).step


MAKERS: dict[str, Callable[[str, np.ndarray, np.ndarray], Step]] = {
    "fastoptim": fastoptim,
    "in place": lambda rule, p, g: IN_PLACE[rule](p, g),
    "one-liner": lambda rule, p, g: ONE_LINER[rule](p, g),
}


def roofline(n: int, dtype: str, n_states: int) -> Work:
    """The loop of cpp/kernels/roofline.hpp, without a call from Python for each pass.

    It runs on one thread or on all, whichever is faster at this size: a bound must not contain
    overhead that can be avoided.
    """
    like = np.empty(n, dtype)
    arrays = [_core.empty_state(like, dtype, slot) for slot in range(2 + n_states)]
    for k in range(len(arrays)):  # first touch by the threads that will use them
        _core.roofline([arrays[k], arrays[k - 1]])
        arrays[k].fill(1)

    def serial(passes: int) -> None:
        _core.roofline(arrays, passes=passes, serial=True)

    def parallel(passes: int) -> None:
        _core.roofline(arrays, passes=passes)

    if n >= LARGE or fo.get_num_threads() == 1:
        return parallel
    timings = take_turns({"serial": serial, "parallel": parallel}, seconds=0)
    return serial if timings["serial"] < timings["parallel"] else parallel


def make(rule: str, n: int, dtype: str) -> dict[str, Work]:
    """The contenders of one row, by name."""
    works = {"roofline": roofline(n, dtype, N_STATES[rule])}
    for name, maker in MAKERS.items():
        works[name] = repeated(maker(rule, *make_arrays(n, dtype)))
    return works


def bytes_needed(rule: str, n: int, dtype: str) -> int:
    """Bytes of all contenders together: arrays, two buffers, at most four temporaries."""
    return (4 * (2 + N_STATES[rule]) + 2 + 4) * n * np.dtype(dtype).itemsize


def bytes_moved(rule: str, dtype: str) -> int:
    """Bytes that a step reads and writes for each element."""
    return (3 + 2 * N_STATES[rule]) * np.dtype(dtype).itemsize


def result(maker: Callable[[str, np.ndarray, np.ndarray], Step], rule: str, n: int, dtype: str,
           steps: int = 3) -> np.ndarray:
    """The parameter after so many steps."""
    p, g = make_arrays(n, dtype)
    step = maker(rule, p, g)
    for _ in range(steps):
        step()
    return p


def definition(rule: str, p: np.ndarray, g: np.ndarray) -> Step:
    """The step of fastoptim.reference."""
    s: dict[str, np.ndarray] = {}
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        p[...] = getattr(reference, rule)(p, g, s, t, lr=LR)

    return step


def check(rule: str, n: int, dtype: str) -> None:
    """Raise AssertionError unless all contenders compute the bytes of fastoptim.reference."""
    expected = result(definition, rule, n, dtype)
    for name, maker in MAKERS.items():
        if result(maker, rule, n, dtype).tobytes() != expected.tobytes():
            raise AssertionError(
                f"{name} must get the same bytes as fastoptim.reference from {rule}")
