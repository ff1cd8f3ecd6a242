"""Loading is all or nothing, whatever interrupts it or lies where it reads."""

import gc
import signal
import sys
import time

import numpy as np
import pytest

import fastoptim as fo


def test_live_states_can_be_swapped():
    opt = fo.Momentum({"a": np.ones(4), "b": np.ones(4)})
    opt.step({"a": np.full(4, 1.0), "b": np.arange(4.0)})
    before = {name: states["v"].copy() for name, states in opt.state.items()}
    live = opt.state
    opt.load_state_dict(opt.state_dict() | {"state": {"a": live["b"], "b": live["a"]}})
    assert (opt.state["a"]["v"] == before["b"]).all()
    assert (opt.state["b"]["v"] == before["a"]).all()


def test_a_state_can_be_loaded_from_a_view_of_itself():
    opt = fo.Momentum([np.ones(6), np.ones(6)])
    opt.step([np.arange(6.0), np.arange(6.0, 12.0)])
    v, w = (opt.state[k]["v"].copy() for k in (0, 1))
    live = opt.state
    opt.load_state_dict(opt.state_dict() | {
        "state": {0: {"v": live[0]["v"][::-1]}, 1: {"v": live[0]["v"]}}})
    assert (opt.state[0]["v"] == v[::-1]).all() and (opt.state[1]["v"] == v).all()


class Interrupt(Exception):
    pass


def interrupted_before_bytecode(k, f, *arguments):
    """Calls f with an exception before its k-th bytecode, where signal handlers run: whether one
    came."""
    left = k

    def trace(frame, event, _):
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise Interrupt
        return trace

    before = sys.gettrace()
    gc.disable()  # its callbacks would be traced too
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for one when the tracing begins
    sys.settrace(trace)
    try:
        f(*arguments)
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


# In a generator that is being closed, Python ignores the exception: the next bytecode has it again.
ignore_those_in_generators = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")


def two_states():
    """An optimizer, and state_dicts of two others that differ from one another in everything."""
    def make(k):
        opt = fo.Adam([{"params": {"a": np.ones(3)}, "lr": 0.1 * k, "eps": 1e-8 * k},
                       {"params": {"b": np.ones(3)}, "weight_decay": 0.1 * k}],
                      lr=float(k), seed=k, rounding=["nearest", "stochastic"][k - 1])
        for _ in range(k):
            opt.step([np.full(3, float(k)), np.full(3, float(k))])
        return opt.state_dict()

    return (fo.Adam([{"params": {"a": np.ones(3)}}, {"params": {"b": np.ones(3)}}]),
            [make(1), make(2)])


def facts(d):
    return {**d, "state": {name: {s: x.tolist() for s, x in states.items()}
                           for name, states in d["state"].items()}}


@ignore_those_in_generators
def test_an_interrupt_before_any_bytecode_leaves_the_old_state_or_the_new_one():
    opt, states = two_states()
    expected = [facts(d) for d in states]
    opt.load_state_dict(states[0])
    seen = set()
    for k in range(10**6):
        opt.load_state_dict(states[0])
        came = interrupted_before_bytecode(k, opt.load_state_dict, states[1])
        found = expected.index(facts(opt.state_dict()))
        seen.add((came, found))
        if not came:
            break
    if sys.version_info[:2] == (3, 12):  # which shows no bytecode between the commit and the return
        seen.add((True, 1))
    # Before the commit, after it (where the call returns), and not at all.
    assert k > 500 and seen == {(True, 0), (True, 1), (False, 1)}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_an_interrupt_by_a_timer_leaves_the_old_state_or_the_new_one():
    def interrupt(number, frame):
        raise Interrupt

    def interrupted_after(seconds, f, *arguments):
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                f(*arguments)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            return True
        return False

    opt, states = two_states()
    expected = [facts(d) for d in states]
    took = []
    for _ in range(20):
        start = time.perf_counter()
        opt.load_state_dict(states[0])
        took.append(time.perf_counter() - start)
    rng, now, n_interrupted = np.random.default_rng(0), 0, 0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(4000):
            n_interrupted += interrupted_after(rng.uniform(0.1, 1.5) * min(took),
                                               opt.load_state_dict, states[1 - now])
            now = expected.index(facts(opt.state_dict()))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert n_interrupted > 400


@ignore_those_in_generators
@pytest.mark.parametrize("option, first, second", [
    ("weight_decay", 0.5, 0.25),
    ("lr", 0.5, 0.25),
    ("lr", 0.5, fo.schedules.constant(0.25)),
    ("lr", fo.schedules.constant(0.5), 0.25),
])
@pytest.mark.parametrize("of_group", [False, True])
def test_an_interrupt_before_any_bytecode_leaves_an_option_assigned_or_not(
        option, first, second, of_group):
    """The core computes with the option that Python shows."""
    p, g = np.zeros(1), np.zeros(1)
    opt = fo.SGD(p, g, lr=1.0)
    group = opt.groups[0]

    def assign(value):
        if of_group or option != "lr":
            group[option] = value
        else:
            opt.lr = value

    for k in range(10**6):
        assign(first)
        came = interrupted_before_bytecode(k, assign, second)
        p[:], g[:] = 1, option == "lr"
        expected = 1 - group["lr"] if option == "lr" else 1 - group["lr"] * group["weight_decay"]
        opt.step()
        assert p.item() == expected
        if not came:
            break
    assert k > 20


def test_an_empty_parameter_in_q8_loads_its_own_state():
    params = [np.zeros(shape, np.float32) for shape in ((0, 3), (3, 0, 2), (0, 1), (2, 200), (0,))]
    params += [np.zeros((3, 0), np.float32, order="F"), np.zeros((5, 0, 4), np.float32)[::2]]
    opt = fo.Adam(params, state_dtype="q8")
    opt.step([np.ones_like(p) for p in params])
    other = fo.Adam([p.copy() for p in params], state_dtype="q8")
    other.load_state_dict(opt.state_dict())
    assert other.t == 1
