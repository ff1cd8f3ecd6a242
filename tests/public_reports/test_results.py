"""Results and speed that depend on what they must not: faults of other libraries, as reported.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import platform
import sys

import numpy as np
import pytest

import fastoptim as fo

from support import child


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
