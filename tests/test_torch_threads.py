"""Steps on torch's arrays: they run in the team of torch's own OpenMP runtime."""

import pytest

from support import child
from support.openmp import HELPERS, NO_VARIABLES, needs_openmp, needs_tasks

pytest.importorskip("torch")

pytestmark = needs_openmp

TORCH = HELPERS + """
import torch
def path():  # of torch's runtime
    return fo.build_info()["threading_reason"].split("torch's arrays ")[1].split(",")[0]
def is_of_torch(*arguments, **options):
    return fo.SGD(*arguments, **options)._core.is_of_torch
def tensor(n=LARGE):
    return torch.from_numpy(np.ones(n, "f")).clone()
"""


def run(code, **variables):
    return child.run(TORCH + code, **NO_VARIABLES | {"FASTOPTIM_NUM_THREADS": "3",
                                                     "OMP_NUM_THREADS": "3"} | variables)


def test_arrays_of_torch_are_known():
    run("""
t, x = tensor(), np.ones(LARGE, "f")
parameter = torch.nn.Parameter(tensor())
for of_torch in (t, t.numpy(), t[1:], t.numpy()[1:].reshape(3, -1).T, np.from_dlpack(t),
                 np.asarray(t), parameter.detach(), parameter.detach().numpy(), t.numpy().view("i4")
                 .view("f4")):
    assert is_of_torch(of_torch), of_torch
for other in (x, x[1:], memoryview(x), np.from_dlpack(x), x.view("i4").view("f4")):
    assert not is_of_torch(other), other
assert is_of_torch({"a": x, "b": t})
assert is_of_torch(x, grads=t) and not is_of_torch(x, grads=x.copy())
for grad, expected in ((t, True), (t.numpy(), True), (x.copy(), False)):
    opt = fo.SGD(x)
    assert not opt._core.is_of_torch
    opt.step(grad)
    assert opt._core.is_of_torch is expected
""")


def test_libraries_that_are_not_torch_stay_with_the_pool():
    run("""
import sys, types
class Tensor(np.ndarray): pass
real = sys.modules["torch"]
for fake in (types.ModuleType("torch"), types.SimpleNamespace(Tensor=3), real):
    sys.modules["torch"] = fake
    assert is_of_torch(np.ones(3).view(Tensor)) is False
""")


@needs_tasks
def test_the_team_of_torch_runs_the_steps_and_the_pool_those_of_other_arrays():
    run("""
torch.ones(LARGE).add_(1)
there = threads()
t, g = tensor(), tensor()
theirs = fo.SGD(t, g, lr=1.0)
for _ in range(20):
    theirs.step()
assert threads() == there
assert t.tolist() == [-19] * LARGE
fo.SGD(np.zeros(LARGE), np.ones(LARGE)).step()
assert len(threads() - there) == 2
there = threads()
fo.set_threading("pool")
theirs.step()
fo.set_threading("auto")
theirs.step()
assert threads() == there and t.tolist() == [-21] * LARGE
""")


@needs_tasks
def test_the_team_of_torch_runs_every_call_of_the_functional_layer():
    run("""
torch.ones(LARGE).add_(1)
there = threads()
t, g = tensor().numpy(), tensor().numpy()
for _ in range(5):
    fo.sgd_(t, g, lr=1.0)
assert threads() == there  # none was started for the pool
assert (t == -4).all()
""")


def test_the_same_bytes_with_either():
    run("""
def adamw():
    torch.manual_seed(0)
    t = torch.randn(LARGE)
    opt = fo.AdamW(t)
    for _ in range(3):
        opt.step(torch.randn(LARGE))
    assert opt._core.is_of_torch
    return t.numpy().tobytes()
found = set()
for choice in ("pool", "auto", "openmp"):
    fo.set_threading(choice)
    for n in (1, 2, 3, 20):
        fo.set_num_threads(n)
        found.add(adamw())
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        found.add(adamw())
assert len(found) == 1
""")


@needs_tasks
def test_the_number_of_torch_is_respected_in_every_thread():
    run("""
torch.set_num_threads(1)
opt = fo.SGD(tensor(), tensor())
def step():
    there = threads()
    opt.step()
    new.append(threads() - there)
new = []
step()
other = threading.Thread(target=step)  # which has not computed with torch yet
other.start()
other.join()
assert new == [set(), set()], new
""")


def test_late_loading():
    child.run("""
import fastoptim as fo, numpy as np
x = np.ones(1_000_000, "f")
opt = fo.SGD(x, lr=1.0)
opt.step(x.copy())
assert "torch is not loaded" in fo.build_info()["threading_reason"]
import torch
assert "for torch's arrays" in fo.build_info()["threading_reason"]
t = torch.zeros(1_000_000)
theirs = fo.SGD(t, lr=1.0)
theirs.step(torch.ones(1_000_000))
assert theirs._core.is_of_torch and not opt._core.is_of_torch
assert t.tolist() == [-1] * 1_000_000
""", **NO_VARIABLES | {"FASTOPTIM_NUM_THREADS": "2"})


@pytest.mark.parametrize("first", ["a copy under another name", "the system's", "torch"])
def test_of_several_runtimes_the_one_that_torch_uses(tmp_path, first):
    """Whichever was loaded first, and whichever serves other arrays."""
    out = child.run(f"""
import ctypes, pathlib, sys
import fastoptim as fo, numpy as np
first = {first!r}
if first == "torch":
    import torch
elif first == "the system's":
    fo.set_threading("openmp")
else:
    import subprocess
    code = "import fastoptim as fo; fo.set_threading('openmp'); print(fo._core.openmp_paths()[1])"
    system = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                            text=True).stdout.strip()
    # As in a wheel, its own name too, by which the loader would take it for the system's.
    copy = pathlib.Path({str(tmp_path / "libgomp-0a1b2c3d.so.1.0.0")!r})
    content = pathlib.Path(system).read_bytes()
    copy.write_bytes(content.replace(b"libgomp.so.1\\0", b"libgomp-a.so\\0"))
    ctypes.CDLL(str(copy))
    fo.set_threading("openmp")
other = fo.build_info()["threading_reason"]
import torch
t = torch.zeros(1_000_000)
opt = fo.SGD(t, lr=1.0)
opt.step(torch.ones(1_000_000))
assert opt._core.is_of_torch and t.tolist() == [-1] * 1_000_000
of_torch = fo._core.openmp_paths()[0]
torch.set_num_threads(7)  # reaches the runtime that was found
assert ctypes.CDLL(of_torch).omp_get_max_threads() == 7, of_torch
print(other)
print(of_torch)
""", **NO_VARIABLES | {"FASTOPTIM_NUM_THREADS": "2"})
    other, of_torch = out.splitlines()
    if first == "a copy under another name":
        assert other.startswith(str(tmp_path)) and not of_torch.startswith(str(tmp_path))
