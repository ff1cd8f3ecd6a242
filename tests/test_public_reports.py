"""Faults that users of other libraries reported in public, tried here.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import copy
import json
import operator
import pickle
import platform
import signal
import sys
import weakref

import numpy as np
import pytest

import fastoptim as fo

from support import child
from support.orders import order_list as order
from support.orders import row_list as rows

REFUSED = (AttributeError, RuntimeError, TypeError, ValueError)


# Crashes and hangs


def test_what_a_loader_was_made_from_cannot_be_swapped_afterwards():
    # https://github.com/PKU-ML/AdvNotRealFeatures/issues/6: a loader's data set was assigned.
    batches, p = fo.MiniBatches(np.arange(10), batch_size=5, seed=1), fo.Permutation(10, seed=1)
    for thing, name, value in [(batches, "batch_size", 2), (batches, "seed", 2),
                               (batches, "shuffle", False), (batches, "drop_last", True),
                               (p, "n", 10**9), (p, "seed", 2), (p, "epoch", 1)]:
        before = getattr(thing, name)
        with pytest.raises(AttributeError, match=name):
            setattr(thing, name, value)
        assert getattr(thing, name) == before
    assert rows(batches) == list(p) == order(10, seed=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_array_that_was_resized_is_not_read_where_it_lay(shuffle):
    # https://github.com/numpy/numpy/issues/28429: a view kept looking at memory that was let go.
    assert child.run(f"""
import numpy as np, fastoptim as fo
x, p = np.arange(3e6), np.zeros(3_000_000)
batches, opt = fo.MiniBatches(x, batch_size=5, shuffle={shuffle}), fo.SGD(p)
x.resize(10, refcheck=False)
p.resize(10, refcheck=False)
for use in (lambda: next(iter(batches)), lambda: opt.step(np.ones(10))):
    try:
        use()
    except (RuntimeError, TypeError, ValueError) as error:
        print("refused")
""").split() == ["refused", "refused"]


FORKS = """
import os, signal, threading, time
import numpy as np, fastoptim as fo
{}
def forever():
    while True:
        work()
threading.Thread(target=forever, daemon=True).start()
for k in range(20):
    time.sleep(0.003 + 0.0007 * k)
    child = os.fork()
    if not child:
        signal.alarm(10)
        try:
            try:
                work()
            except RuntimeError:
                mend()
                work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        break
print(code)
os._exit(0)
"""

@pytest.mark.parametrize("work", [
    "b = fo.MiniBatches(np.zeros((40_000, 20)), batch_size=20_000)\nwork = lambda: list(b)",
    "opt = fo.Adam(np.zeros(2_000_000), np.ones(2_000_000))\nwork = opt.step\n"
    "saved = opt.state_dict()\nmend = lambda: opt.load_state_dict(saved)",  # if cut off halfway
], ids=["loader", "step"])
def test_a_child_forked_while_another_thread_works_does_not_hang(work):
    # https://github.com/ultralytics/ultralytics/pull/26085: forked with a lock held, it waited.
    assert child.run(FORKS.format(work)) == "0\n"


def test_arithmetic_in_a_forked_child_does_not_hang():
    # https://github.com/OpenMathLib/OpenBLAS/issues/294: a child's first product never ended.
    assert child.run("""
import os, signal, numpy as np, fastoptim as fo
fo.set_num_threads(4)
opt = fo.Adam(np.zeros(1_000_000), np.ones(1_000_000))
opt.step()
child = os.fork()
if not child:
    signal.alarm(20)
    opt.step()
    os._exit(opt.t)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""") == "2\n"


@pytest.mark.parametrize("work", ["opt.step", "lambda: list(batches)", "lambda: fo.shuffle_(own)",
                                  "lambda: fo.ewma(x)", "lambda: order[:]"])
def test_a_daemon_thread_does_not_abort_the_process_at_its_end(work):
    # https://github.com/pytorch/pytorch/issues/38228: terminate called without an active exception.
    assert child.run(f"""
import threading, time
import numpy as np, fastoptim as fo
x = np.random.default_rng(0).random((100_000, 10))
opt, order = fo.Adam(np.zeros(300_000), np.ones(300_000)), fo.Permutation(1_000_000)
batches, own = fo.MiniBatches(x, batch_size=5000), x.copy()
def forever(work):
    while True:
        work()
threading.Thread(target=forever, args=({work},), daemon=True).start()
time.sleep(0.2)
print("end")
""") == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc as Linux has them")
def test_a_thread_that_cannot_be_started_is_not_waited_for():
    # https://github.com/valkey-io/valkey-search/issues/1344: a pool waited for a thread not begun.
    assert child.run("""
import resource, numpy as np, fastoptim as fo
x = np.arange(1000)
batches = fo.MiniBatches(x, batch_size=100, prefetch=1)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (4 << 20),) * 2)  # less than a stack
for epoch in range(3):
    batches.seek(epoch)
    print([row for batch in batches for row in batch.tolist()] ==
          fo.Permutation(1000, 0, epoch)[:].tolist())
""", timeout=20) == "True\n" * 3


def test_positions_that_a_thread_writes_to_meanwhile_are_no_crash():
    # https://github.com/numpy/numpy/issues/15387: threads and an array of indices, corruption.
    assert child.run("""
import sys, threading, time, numpy as np, fastoptim as fo
sys.setswitchinterval(1e-6)
a, p, stop = np.zeros(20_000, np.int64), fo.Permutation(1000), time.monotonic() + 2
def write():
    while time.monotonic() < stop:
        a.fill(1 << 40)
        a.fill(0)
threading.Thread(target=write).start()
seen = set()
while time.monotonic() < stop:
    try:
        seen.update(p[a].tolist())
    except IndexError:
        pass
print(all(0 <= row < 1000 for row in seen))
""") == "True\n"


def test_a_finaliser_that_reads_the_loader_does_not_deadlock():
    # https://github.com/getsentry/sentry-python/issues/803: the collector ran under a lock.
    assert child.run("""
import gc, numpy as np, fastoptim as fo
class Finalised:
    def __init__(self):
        self.me = self
    def __del__(self):
        batches.epoch
batches = fo.MiniBatches(*[np.arange(300)] * 21, batch_size=1)
gc.set_threshold(5)
for _ in range(10):
    for batch in batches:
        Finalised()
gc.set_threshold(0)
print(batches.epoch)
""", timeout=30) == "10\n"


@pytest.mark.parametrize("make", [lambda x: fo.Adam(x), lambda x: fo.Momentum(x, x + 1),
                                  lambda x: fo.MiniBatches(x, batch_size=2)])
def test_an_array_that_refers_to_what_refers_to_it_is_freed(make):
    # https://github.com/numpy/numpy/issues/6581: an array in a cycle was never collected.
    import gc

    class Owner(np.ndarray):
        pass

    x = Owner(10)
    x[...] = 0
    x.user = make(x)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def test_letting_go_of_a_loader_does_not_hold_up_other_threads():
    # https://github.com/pybind/pybind11/issues/1446: a destructor waited for a thread with the GIL.
    assert child.run("""
import sys, threading, time, numpy as np, fastoptim as fo
sys.setswitchinterval(100)  # the main thread is never asked for the GIL
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
x = np.ones((20_000_000,), np.float32)
batches = fo.MiniBatches(x, batch_size=10_000_000, prefetch=1)
iterator = iter(batches)
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.01)
next(iterator)
time.sleep(0.02)  # the batch after it is being made
before, start = ticks, time.perf_counter()
del iterator, batches
print(ticks > before or time.perf_counter() - start < 0.02)
sys.stdout.flush()
__import__("os")._exit(0)
""") == "True\n"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_an_interrupt_while_loading_leaves_one_state_or_the_other():
    # https://github.com/zylo117/Yet-Another-EfficientDet-Pytorch/issues/101: Ctrl-C, half a file.
    params = {name: np.zeros(10) for name in "abcdef"}
    states = []
    for k in (1, 2):
        opt = fo.Momentum(params, lr=float(k), beta=k / 8, seed=k)
        for _ in range(k):
            opt.step({name: np.full(10, float(k)) for name in params})
        states.append(opt.state_dict())
    seen = {(s["t"], s["lr"], s["groups"][0]["beta"], s["storage"]["seed"],
             *(float(v["v"][0]) for v in s["state"].values())) for s in states}
    assert len(seen) == 2

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    found = set()
    try:
        for k in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (3 + k % 11))
                while True:
                    for state in states:
                        opt.load_state_dict(state)
            except KeyboardInterrupt:
                s = opt.state_dict()
                found.add((s["t"], s["lr"], s["groups"][0]["beta"], s["storage"]["seed"],
                           *(float(v["v"][0]) for v in s["state"].values())))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found <= seen


def test_loading_another_optimizers_live_state_copies_it():
    # https://github.com/pytorch/pytorch/issues/196083: afterwards both stepped on one buffer.
    p, g = {"a": np.zeros(3), "b": np.zeros(3)}, {"a": np.ones(3), "b": np.full(3, 2.0)}
    first, second = fo.Momentum(p, lr=0.0), fo.Momentum(copy.deepcopy(p), lr=0.0)
    first.step(g)
    second.load_state_dict({**first.state_dict(), "state": first.state})
    old = second.state_dict()["state"]
    first.step(g)
    assert np.array_equal(second.state["a"]["v"], old["a"]["v"])
    live = second.state
    second.load_state_dict({**second.state_dict(), "state": {"a": live["b"], "b": live["a"]}})
    assert np.array_equal(second.state["a"]["v"], old["b"]["v"])
    assert np.array_equal(second.state["b"]["v"], old["a"]["v"])


def test_an_empty_tensor_is_not_refused_for_its_strides():
    # https://github.com/triton-inference-server/python_backend/pull/444: empty, "not contiguous".
    params = [np.zeros((0, 3), np.float32), np.zeros((3, 0, 2), np.float32), np.ones(3, "f4")]
    opt = fo.Adam(params, state_dtype="q8")
    opt.step([np.ones_like(p) for p in params])
    opt.load_state_dict(opt.state_dict())
    assert opt.t == 1


def test_states_of_8_bits_come_back_from_a_file():
    # https://github.com/pytorch/ao/issues/3314: 8-bit states from a checkpoint, dtype mismatch.
    opt = fo.Adam(np.zeros(300, np.float32), state_dtype="q8")
    opt.step(np.ones(300, np.float32))
    state = opt.state_dict()
    opt.load_state_dict(pickle.loads(pickle.dumps(state)))  # with an int8 that is not NumPy's own
    for name, x in opt.state[0].items():
        assert x.tobytes() == state["state"][0][name].tobytes()


# Results and speed that depend on what they must not


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux",
                    reason="sets the control word of x86 by way of glibc")
def test_worker_threads_flush_and_round_as_their_caller_does():
    # https://github.com/EddyRivasLab/hmmer/issues/106: worker threads lost the flush-to-zero flag.
    assert child.run("""
import ctypes, numpy as np, fastoptim as fo
libm, env = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 8)()
libm.fegetenv(env)
usual = env[7]
def digest(threads, bits):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(600_000).astype(np.float32)
    g = (1e-20 * rng.standard_normal(600_000)).astype(np.float32)  # whose squares are subnormal
    fo.set_num_threads(threads)
    opt = fo.Adam(p, g, eps=1e-25)
    env[7] = usual | bits
    libm.fesetenv(env)
    for _ in range(4):
        opt.step()
    env[7] = usual
    libm.fesetenv(env)
    return hash((p.tobytes(), opt.state[0]["m"].tobytes(), opt.state[0]["v"].tobytes()))
modes = [0, 0x8040, 0x2000, 0x4000, 0x6000]  # flush and zero; down, up, towards zero
found = [{digest(threads, bits) for threads in (1, 2, 3, 7)} for bits in modes]
print([len(f) for f in found], len(set.union(*found)))
""") == "[1, 1, 1, 1, 1] 5\n"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at threads in /proc")
def test_a_lower_number_of_threads_leaves_the_others_asleep():
    # https://github.com/Macaulay2/M2/issues/4177: a lower number of threads was not kept to.
    assert child.run("""
import pathlib, time, numpy as np, fastoptim as fo
def wakes():
    return {task.parent.name: int(task.read_text().split("voluntary_ctxt_switches:")[1].split()[0])
            for task in pathlib.Path("/proc/self/task").glob("*/status")}
opt = fo.SGD(np.zeros(2_000_000), np.ones(2_000_000))
fo.set_num_threads(32)
opt.step()
fo.set_num_threads(2)
opt.step()
time.sleep(0.2)
before = wakes()
for _ in range(50):
    opt.step()
    time.sleep(0.001)
print(sum(count > before.get(thread, 0) for thread, count in wakes().items()) <= 2)
""") == "True\n"


def test_threads_without_work_do_not_keep_a_processor_busy():
    # https://github.com/microsoft/onnxruntime/pull/11841: idle threads spun between requests.
    used = float(child.run("""
import time, numpy as np, fastoptim as fo
fo.set_num_threads(4)
opt = fo.SGD(np.zeros(2_000_000), np.ones(2_000_000))
opt.step()
start = time.process_time()
time.sleep(0.5)
print(time.process_time() - start)
"""))
    assert used < 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999, 0.99999, 0.999999, 1 - 1e-9])
def test_the_average_of_ones_is_one(dtype, beta):
    # https://github.com/numpy/numpy/issues/22956: the mean of 2e7 ones in float32 was 0.84.
    assert (fo.ewma(np.ones(300_000, dtype), beta) == 1).all()


def test_minus_zero_keeps_its_sign_in_a_copy():
    # https://github.com/pytorch/pytorch/issues/195851: cumsum on the CPU made -0.0 +0.0.
    opt = fo.SGD(np.array([-0.0, 0.0, -0.0], np.float16), master=True)
    assert np.signbit(opt.state[0]["master"]).tolist() == [True, False, True]


def test_adam_on_a_gradient_of_zero_is_not_nan():
    # https://github.com/google-deepmind/optax/issues/1754: eps was 0 in float16, so 0/0.
    for dtype in (np.float16, np.float32, np.float64):
        p = np.ones(3, dtype)
        fo.Adam(p).step(np.zeros(3, dtype))
        assert (p == 1).all()
    p = np.ones(3, np.float32)
    for make in (fo.Adam, fo.AdamW, fo.RMSProp):
        with pytest.raises(ValueError, match="eps"):
            make(p, eps=1e-46).step(np.zeros(3, np.float32))
    assert (p == 1).all()


def test_second_moments_are_not_kept_where_they_underflow():
    # https://github.com/ultralytics/ultralytics/pull/24085: rounded to 0 in float16, loss exploded.
    p = np.zeros(3, np.float32)
    for make in (fo.Adam, fo.AdamW, fo.RMSProp):
        with pytest.raises(ValueError, match="bfloat16"):
            make(p, state_dtype="float16")
    fo.Momentum(p, state_dtype="float16").step(np.ones(3, np.float32))


# Accepted, and nothing happens


def test_a_learning_rate_by_another_name_is_not_ignored():
    # https://github.com/keras-team/keras/issues/17338: lr= was accepted, and ignored.
    p = np.zeros(3)
    with pytest.raises(REFUSED, match="learning_rate"):
        fo.Adam(p, learning_rate=5.0)
    opt = fo.Adam(p, lr=0.1)
    with pytest.raises(AttributeError, match="learning_rate"):
        opt.learning_rate = 5.0
    assert opt.lr == 0.1 and not hasattr(opt, "learning_rate")


def test_an_option_can_be_changed_between_steps():
    # https://github.com/pytorch/pytorch/issues/7342: no easy way to change decay or momentum.
    first, second, g = np.ones(3), np.ones(3), np.full(3, 0.5)
    opt = fo.Adam(first)
    opt.weight_decay, opt.betas, opt.eps = 0.5, (0.8, 0.9), 1e-3
    assert (opt.weight_decay, opt.betas, opt.eps) == (0.5, (0.8, 0.9), 1e-3)
    opt.step(g)
    fo.Adam(second, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3).step(g)
    assert first.tobytes() == second.tobytes()


def test_a_state_or_parameter_put_in_place_of_another_is_not_ignored():
    # https://github.com/graphdeco-inria/gaussian-splatting/issues/897: swapped inside an optimizer.
    opt = fo.Adam([np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    with pytest.raises(TypeError):
        opt.state[0]["m"] = np.zeros(3)
    with pytest.raises(TypeError):
        opt.state[0] = {}
    with pytest.raises(TypeError):
        opt.params[0] = np.zeros(3)
    opt.state[0]["m"][:] = 7
    assert (opt.state_dict()["state"][0]["m"] == 7).all()


def test_a_parameter_made_anew_after_the_optimizer_is_noticed():
    # https://github.com/spro/practical-pytorch/issues/9: the optimizer held the model before.
    params = {"W": np.ones((2, 2)), "b": np.zeros(2)}
    opt, grads = fo.Adam(params), {"W": np.ones((2, 2)), "b": np.ones(2)}
    opt.step(grads)
    held = params["W"]
    params["W"] = params["W"] / 5
    before = held.tobytes(), params["W"].tobytes(), params["b"].tobytes()
    with pytest.raises(REFUSED, match="'W'"):
        opt.step(grads)
    assert before == (held.tobytes(), params["W"].tobytes(), params["b"].tobytes()) and opt.t == 1
    held[...], params["W"] = params["W"], held
    opt.step(grads)
    assert opt.t == 2


def test_a_resumed_run_keeps_its_schedule():
    # https://github.com/chainer/chainermn/issues/225: a resumed run had its first rate again.
    schedule = fo.schedules.exponential(0.1, base=0.5)
    first = fo.SGD(np.zeros(1), lr=schedule)
    for _ in range(3):
        first.step(np.ones(1))
    second = fo.SGD(np.zeros(1))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    for _ in range(3):
        assert second.lr == first.lr == schedule(first.t)
        first.step(np.ones(1))
        second.step(np.ones(1))


def test_a_schedule_of_ones_own_is_asked_for_when_a_run_is_resumed():
    # https://github.com/google-deepmind/optax/issues/1036: how to resume where a schedule was?
    def own(step):
        return 0.5 / (1 + step)

    first = fo.SGD(np.zeros(1), lr=own)
    first.step(np.ones(1))
    state = first.state_dict()
    second = fo.SGD(np.zeros(1))
    with pytest.raises(REFUSED, match="own"):
        second.load_state_dict(state)
    assert second.t == 0
    third = fo.SGD(np.zeros(1), lr=own)
    third.load_state_dict(state)
    assert third.lr == first.lr == own(1)


def test_states_go_to_the_parameter_of_their_name():
    # https://github.com/pytorch/pytorch/issues/1489: in another order, p1 had the state of p2.
    first = fo.Momentum({"p2": np.zeros(3), "p1": np.zeros(3)})
    first.step({"p1": np.ones(3), "p2": np.full(3, 2.0)})
    second = fo.Momentum({"p1": np.zeros(3), "p2": np.zeros(3)})
    second.load_state_dict(first.state_dict())
    for name in ("p1", "p2"):
        assert np.array_equal(second.state[name]["v"], first.state[name]["v"])


def test_positions_that_a_file_made_strings_are_positions_still():
    # https://github.com/pytorch/pytorch/issues/153842: int keys came back from a file as strings.
    def keys_as_text(x):
        if isinstance(x, dict):
            return {str(key): keys_as_text(value) for key, value in x.items()}
        return x

    first, second = (fo.Momentum([np.zeros(2), np.zeros(3)]) for _ in range(2))
    first.step([np.ones(2), np.ones(3)])
    second.load_state_dict(keys_as_text(first.state_dict()))
    assert np.array_equal(second.state[1]["v"], first.state[1]["v"]) and second.t == 1


def test_a_parameter_added_late_begins_with_a_first_step():
    # https://github.com/deepspeedai/DeepSpeed/pull/8471: one count for all, wrong bias correction.
    g, old = np.array([0.5, -2.0]), fo.Adam({"a": np.zeros(2)})
    for _ in range(50):
        old.step({"a": g})
    new, fresh = fo.Adam({"b": np.ones(2), "a": np.zeros(2)}), fo.Adam({"b": np.ones(2)})
    new.params["a"][:] = old.params["a"]
    merged = new.state_dict()
    for key in ("state", "counts"):
        merged[key] = {**merged[key], **old.state_dict()[key]}
    new.load_state_dict({**merged, "t": old.t})
    for _ in range(3):
        new.step({"a": g, "b": g})
        old.step({"a": g})
        fresh.step({"b": g})
    assert new.params["a"].tobytes() == old.params["a"].tobytes()
    assert new.params["b"].tobytes() == fresh.params["b"].tobytes()


def test_a_schedule_whose_power_overflows_says_so():
    # https://github.com/pytorch/pytorch/issues/52989: OverflowError, two hours into the epoch.
    p = np.zeros(1)
    opt = fo.SGD(p, lr=fo.schedules.exponential(0.1, base=2.0))
    opt.load_state_dict({**opt.state_dict(), "t": 5000})
    with pytest.raises(ValueError, match="5000"):
        opt.step(np.ones(1))
    assert p[0] == 0 and opt.t == 5000


SCHEDULES = {
    "constant": lambda: fo.schedules.constant(0.1),
    "inverse_time": lambda: fo.schedules.inverse_time(0.1, decay_rate=0.5, steps_per_epoch=3),
    "exponential": lambda: fo.schedules.exponential(0.1, steps_per_epoch=3),
    "inverse_sqrt": lambda: fo.schedules.inverse_sqrt(0.1, steps_per_epoch=3),
    "staircase": lambda: fo.schedules.staircase(0.1, every=2, steps_per_epoch=3),
    "piecewise": lambda: fo.schedules.piecewise({0: 0.1, 2: 0.01}, steps_per_epoch=3),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_an_array_of_steps(name):
    # https://github.com/deepmodeling/deepmd-kit/pull/5143: schedules took no array of steps.
    schedule, steps = SCHEDULES[name](), np.arange(12).reshape(3, 4)
    rates = np.asarray(schedule(steps))
    assert rates.shape == steps.shape
    assert rates.ravel().tolist() == [float(schedule(step)) for step in range(12)]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("step", [-2, 2.5, True, "3"])
def test_a_schedule_refuses_what_is_no_step(name, step):
    # https://github.com/keras-team/keras/pull/18722: decay_steps below 0 gave rates of 0, or NaN.
    with pytest.raises((TypeError, ValueError), match="step"):
        SCHEDULES[name]()(step)


@pytest.mark.parametrize("scalar", [np.float32, np.float64, np.asarray, lambda x: np.where(x, x, x),
                                    int, lambda x: np.int64(x)])
def test_a_schedule_may_return_any_real_scalar(scalar):
    # https://github.com/keras-team/keras/pull/4304: rates of NumPy's types were refused.
    p = np.zeros(1)
    opt = fo.SGD(p, lr=lambda step: scalar(2.0))
    opt.step(np.ones(1))
    assert p[0] == -2 and opt.lr == 2


def test_two_optimizers_made_from_the_same_groups_keep_their_own_rates():
    # https://github.com/pytorch/pytorch/issues/51794: the first optimizer wrote into the groups.
    groups = [{"params": [np.zeros(2)]}, {"params": [np.zeros(3)], "lr": 0.25}]
    given = [dict(group) for group in groups]
    fo.SGD(groups, lr=0.01)
    opt = fo.SGD(groups, lr=0.5)
    assert [group["lr"] for group in opt.groups] == [0.5, 0.25]
    assert all(map(operator.eq, map(len, groups), map(len, given)))


# The loader as people use it


def test_a_look_at_the_first_batch_loses_nothing():
    # https://github.com/awslabs/gluonts/issues/281: next(iter(...)) to have a look at the data.
    batches = fo.MiniBatches(np.arange(10), batch_size=3)
    assert batches.peek().tolist() == batches.peek().tolist() == order(10)[:3]
    assert rows(batches) == order(10)
    look = next(iter(batches)).tolist()
    following = rows(batches)
    assert sorted(following) == list(range(10)) and look in (order(10, epoch=1)[:3], following[:3])


def test_a_loop_after_a_break_begins_a_pass_of_its_own():
    # https://github.com/facebookarchive/torchnet/issues/57: samples of the loop that was left.
    batches = fo.MiniBatches(np.arange(10), batch_size=3)
    for _ in batches:
        break
    for _ in range(3):
        assert sorted(rows(batches)) == list(range(10))


def test_a_loop_in_a_loop_over_the_same_data_ends():
    # https://github.com/pytorch/text/issues/1282: from the second round on, the loop was empty.
    batches = fo.MiniBatches(np.arange(6), batch_size=2)
    pairs = [(x.tolist(), rows(batches)) for x in batches]
    assert sorted(row for x, _ in pairs for row in x) == list(range(6))
    assert [sorted(inner) for _, inner in pairs] == [list(range(6))] * 3


def test_two_loaders_side_by_side_lose_nothing():
    # https://github.com/facebookresearch/fairseq/issues/1746: two loaders, zipped.
    long = fo.MiniBatches(np.arange(10), batch_size=2)
    short = fo.MiniBatches(np.arange(4), batch_size=2)
    starts = [order(10, epoch=k)[:4] for k in range(4)]  # of passes
    for _ in range(2):
        for pairs in (list(zip(long, short)), [pair[::-1] for pair in zip(short, long)]):
            assert rows(x for x, _ in pairs) in starts
            assert sorted(rows(y for _, y in pairs)) == list(range(4))


def test_a_second_resume_within_an_epoch_is_where_it_was_left():
    # https://github.com/KempnerInstitute/KempnerForge/issues/57: the second resume went back.
    state, taken = None, []
    for _ in range(3):
        batches = fo.MiniBatches(np.arange(100), batch_size=7)
        if state is not None:
            batches.load_state_dict(json.loads(json.dumps(state)))
        iterator = iter(batches)
        taken += [row for _ in range(3) for row in next(iterator).tolist()]
        state = batches.state_dict()
    assert taken == order(100)[:63]


def test_asking_for_the_state_does_not_spoil_a_loaded_one():
    # https://github.com/meta-pytorch/data/pull/1548: state_dict() before made the load forgotten.
    first, second = (fo.MiniBatches(np.arange(10), batch_size=5) for _ in range(2))
    next(iter(first))
    second.state_dict()
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    assert rows(second) == order(10)[5:]
    assert rows(second) == order(10, epoch=1)


def test_a_state_saved_at_the_end_of_an_epoch_drops_no_epoch():
    # https://github.com/meta-pytorch/data/issues/1437: loaded at its end, an epoch was skipped.
    first, second = (fo.MiniBatches(np.arange(10), batch_size=5) for _ in range(2))
    assert rows(first) == order(10)
    second.load_state_dict(first.state_dict())
    assert rows(second) == rows(first) == order(10, epoch=1)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_augmentation_in_place_does_not_eat_the_data_set(prefetch):
    # https://github.com/facebookresearch/pycls/pull/21: augmented in place, the data changed.
    X = np.arange(12.0).reshape(6, 2)
    before = X.copy()
    for shuffle in (True, False):
        batches = fo.MiniBatches(X, batch_size=2, shuffle=shuffle, prefetch=prefetch)
        for x in (*batches, batches.peek()):
            if shuffle:
                x -= x.mean()
            else:
                with pytest.raises(ValueError, match="read-only"):
                    x -= x.mean()
    assert np.array_equal(X, before) and X.flags.writeable


def test_dropping_the_only_batch_is_an_error():
    # https://github.com/huggingface/datasets/issues/7113: 100 rows, batches of 101: not one came.
    with pytest.raises(ValueError, match="drop_last"):
        fo.MiniBatches(np.arange(100), batch_size=101, drop_last=True)
    assert len(rows(fo.MiniBatches(np.arange(100), batch_size=100, drop_last=True))) == 100


def test_a_last_batch_of_one_row_can_be_left_out():
    # https://github.com/pytorch/pytorch/issues/7716: batch normalisation failed on a batch of one.
    def sizes(n, **options):
        batches = fo.MiniBatches(np.arange(n), batch_size=4, min_batch=2, **options)
        taken = [len(x) for x in batches]
        assert len(taken) == len(batches)
        return taken

    assert [sizes(n) for n in (8, 9, 10)] == [[4, 4], [4, 4], [4, 4, 2]]
    assert sizes(9, shuffle=False, prefetch=1) == [4, 4]


def test_a_resumed_pass_says_how_many_batches_will_come():
    # https://github.com/NVIDIA-NeMo/Speech/issues/10007: a progress bar of the wrong length.
    batches = fo.MiniBatches(np.arange(95), batch_size=10, start=(2, 40))
    assert len(batches) == 10 and batches.remaining == 6
    iterator = iter(batches)
    for left in (6, 5, 4):
        assert operator.length_hint(iterator) == batches.remaining == left
        next(iterator)
    assert len(list(iterator)) == 3


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy,
                                       lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_loader_has_a_place_of_its_own(duplicate):
    # https://github.com/pescadores/pescador/issues/112: each use moved the one stream they shared.
    first = fo.MiniBatches(np.arange(10), batch_size=2, seed=3, start=(1, 4), prefetch=1)
    second = duplicate(first)
    third = duplicate(second)
    assert rows(second) == rows(first) == rows(third) == order(10, 3, 1)[4:]


def test_a_loader_can_be_sent_to_another_process():
    # https://github.com/meta-pytorch/data/issues/1404: cannot pickle 'torch._C.Generator' object.
    batches = fo.MiniBatches(np.arange(10), batch_size=4, seed=5)
    text = pickle.dumps(batches)
    assert eval(child.run(f"""
import pickle, sys
print([x.tolist() for x in pickle.loads({text!r})])
""")) == [x.tolist() for x in batches]


def test_a_negative_axis_counts_from_the_end_of_each_array():
    # https://github.com/flatironinstitute/nemos/pull/301: a split along a negative axis was wrong.
    X, y = np.arange(20).reshape(2, 10), np.arange(10)
    for axis in (-1, (1, 0), (-1, 0), (1, -1)):
        for x, taken in fo.MiniBatches(X, y, batch_size=3, axis=axis):
            assert np.array_equal(x, X[:, taken])
    first, second = X.copy(), y.copy()
    fo.shuffle_(first, second, axis=-1)
    assert np.array_equal(first, X[:, second]) and second.tolist() == order(10)


def test_a_dict_of_arrays_gives_dicts_of_batches():
    # https://github.com/tensorflow/tensorflow/issues/10151: tuples of tensors, but no dicts.
    data = {"x": np.arange(20).reshape(10, 2), "y": np.arange(10)}
    taken = []
    for batch in fo.MiniBatches(data, batch_size=4):
        assert list(batch) == ["x", "y"] and np.array_equal(batch["x"], data["x"][batch["y"]])
        taken += batch["y"].tolist()
    assert taken == order(10)


def test_a_data_frame_gives_its_rows_or_says_what_to_call():
    # https://github.com/milesial/Pytorch-UNet/issues/250: KeyError, from an index of pandas.
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0) + 10}, index=list("uvwxyz"))
    for table in (frame, frame["a"], frame.iloc[::-1]):
        try:
            batches = fo.MiniBatches(table, batch_size=4)
        except TypeError as error:
            assert type(table).__name__ in str(error) and "to_numpy" in str(error)
        else:
            expected = table.to_numpy()[order(6)]
            assert np.array_equal(np.concatenate(list(batches)), expected)
    with pytest.raises(TypeError, match="DataFrame"):  # columns of two kinds are no one array
        fo.MiniBatches(frame.assign(c=list("abcdef")), batch_size=4)


def test_a_sparse_matrix_is_refused_by_name():
    # https://github.com/mexchy1000/CellDART/issues/9: sparse matrix length is ambiguous.
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(np.eye(4)), sparse.csc_array(np.eye(4))):
        with pytest.raises(TypeError, match=type(matrix).__name__):
            fo.MiniBatches(matrix, batch_size=2)


def test_a_sparse_gradient_is_refused_by_name():
    # https://github.com/pytorch/pytorch/issues/29814: SGD failed deep inside, on set_indices.
    sparse = pytest.importorskip("scipy.sparse")
    params = {"W": np.eye(4)}
    one, named = fo.SGD(params["W"]), fo.SGD(params)
    gradient = sparse.csr_matrix(np.eye(4))
    for opt, grads in ((one, gradient), (one, [gradient]), (named, {"W": gradient})):
        with pytest.raises(TypeError, match="csr_matrix"):
            opt.step(grads)
    assert np.array_equal(params["W"], np.eye(4))


def test_a_data_set_in_a_file_gives_its_rows_or_says_what_to_call(tmp_path):
    # https://github.com/keras-team/keras/issues/887: TypeError while preparing batch, from h5py.
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        rows_ = file.create_dataset("rows", data=np.arange(40).reshape(20, 2))
        try:
            batches = fo.MiniBatches(rows_, batch_size=6)
        except TypeError as error:
            assert "Dataset" in str(error) and "[:]" in str(error)
        else:
            expected = np.arange(40).reshape(20, 2)[order(20)]
            assert np.array_equal(np.concatenate(list(batches)), expected)


# Said wrongly, or not at all


def test_the_formula_in_the_documentation_is_the_one_that_is_computed():
    # https://github.com/pytorch/pytorch/issues/41477: eps stood elsewhere than in the paper.
    assert "reference.adam" in fo.Adam.__doc__
    rng, s = np.random.default_rng(0), {}
    p = rng.standard_normal(1000, np.float32)
    mine = p.copy()
    opt = fo.Adam(mine, eps=1e-3)
    for t in range(1, 4):
        g = rng.standard_normal(1000, np.float32)
        p = fo.reference.adam(p, g, s, t, eps=1e-3)
        opt.step(g)
    assert p.tobytes() == mine.tobytes()


def test_an_option_of_another_optimizer_is_refused_with_what_there_is():
    # https://github.com/pykale/pykale/issues/447: Adam got an unexpected keyword, 'momentum'.
    with pytest.raises(TypeError, match="momentum") as caught:
        fo.Adam(np.zeros(3), momentum=0.9)
    assert all(option in str(caught.value) for option in ("betas", "eps", "lr", "state_dtype"))


def test_a_misspelt_option_is_refused_with_the_nearest():
    # https://github.com/lanl/scico/pull/382: a typo in an option's name went unnoticed.
    with pytest.raises(TypeError, match="weight_decay"):
        fo.Adam(np.zeros(3), weight_decai=0.1)
    with pytest.raises(REFUSED, match="W1"):
        fo.Adam({"W1": np.zeros(3)}).step({"dW1": np.ones(3)})


@pytest.mark.parametrize("option, value", [("--sizes", "inf"), ("--sizes", "abc"),
                                           ("--sizes", "1e30"), ("--seconds", "-1"),
                                           ("--seconds", "nan"), ("--threads", "0")])
def test_a_number_on_the_command_line_is_checked_before_the_work(option, value):
    # https://github.com/openvax/mhcflurry/issues/353: NaN, inf, sizes of 0 failed too late.
    done = child.python("-m", "fastoptim", "bench", option, value, COLUMNS="80")
    assert done.returncode != 0 and "Traceback" not in done.stderr and not done.stdout
    assert option[2:] in done.stderr.strip().splitlines()[-1]
