"""Steps in the team of an OpenMP runtime: whose threads, and what must hold in them."""

import pytest

import fastoptim as fo

from support import child
from support.openmp import HELPERS, NO_VARIABLES, needs_openmp, needs_tasks


def run(code, **variables):
    return child.run(HELPERS + code, **NO_VARIABLES | {"FASTOPTIM_THREADING": "openmp"} | variables)


@pytest.fixture
def restored():
    before = fo.get_threading()
    yield
    fo.set_threading(before)


def test_the_choice_made_is_the_choice_got(restored):
    for choice in ("pool", "auto"):
        fo.set_threading(choice)
        assert fo.get_threading() == fo.build_info()["threading"] == choice


@pytest.mark.parametrize("choice", ["", "OpenMP", "omp", "tbb", None, 1, ["pool"]])
def test_a_refused_choice_changes_nothing(choice):
    before = fo.get_threading()
    rule = r"choice must be one of \('auto', 'pool', 'openmp'\), got "
    with pytest.raises(ValueError, match=rule):
        fo.set_threading(choice)
    assert fo.get_threading() == before


def test_the_variable_is_read_at_import():
    code = "import fastoptim as fo; print(fo.get_threading())"
    for value, expected in ((None, "auto"), ("", "auto"), ("auto", "auto"), ("pool", "pool")):
        assert child.printed(code, FASTOPTIM_THREADING=value) == expected
    done = child.python("-c", code, FASTOPTIM_THREADING="tbb")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(
        "FASTOPTIM_THREADING must be one of ('auto', 'pool', 'openmp'), got 'tbb'")


@needs_openmp
def test_build_info_and_the_command_name_the_runtime_and_why():
    assert "omp" in run("print(path())")
    info = child.python("-m", "fastoptim", "info", **NO_VARIABLES | {
        "FASTOPTIM_THREADING": "openmp", "FASTOPTIM_NUM_THREADS": "2"}).stdout
    assert "threading      openmp\n" in info
    assert ": set_threading or FASTOPTIM_THREADING asked for OpenMP\n" in info
    for choice, reason in (("pool", "asked for it"), ("auto", "torch is not loaded")):
        assert reason in run("print(fo.build_info())", FASTOPTIM_THREADING=choice,
                             FASTOPTIM_NUM_THREADS="2")
    assert "number of threads is 1" in run("print(fo.build_info())", FASTOPTIM_NUM_THREADS="1")


@needs_openmp
def test_without_a_runtime_it_is_an_error(tmp_path):
    message = child.printed("""
import fastoptim as fo
try:
    fo.set_threading("openmp")
except RuntimeError as error:
    print(error)
    assert fo.get_threading() == "auto"
    fo.set_threading("pool")
""", **NO_VARIABLES | hidden_runtimes(tmp_path))
    assert message == ("threading 'openmp' must find an OpenMP runtime, got none: no library has "
                       "loaded one, and the system has none of libgomp.so.1, libomp.so.5, "
                       "libomp.so, libiomp5.so")
    done = child.python("-c", "import fastoptim", **NO_VARIABLES | hidden_runtimes(tmp_path) | {
        "FASTOPTIM_THREADING": "openmp"})
    assert done.returncode == 1 and "must find an OpenMP runtime" in done.stderr


def hidden_runtimes(folder):
    """Variables under which the loader finds a file that is no library for each name."""
    for name in ("libgomp.so.1", "libomp.so.5", "libomp.so", "libiomp5.so"):
        (folder / name).write_text("not a library")
    return {"LD_LIBRARY_PATH": str(folder)}


@needs_openmp
@needs_tasks
def test_the_team_of_the_runtime_runs_the_steps_and_the_pool_does_not():
    run("""
team = {}
region(3, lambda k: team.__setitem__(k, threading.get_native_id()))
assert len(team) == 3 and team[0] == threading.get_native_id(), team
others = set(team.values()) - {team[0]}
step = fo.SGD(np.zeros(LARGE, "f"), np.ones(LARGE, "f")).step
before, there = time_of(others), threads()
time.sleep(0.3)  # their spinning is over
before = time_of(others)
end = time.monotonic() + 20
for _ in range(300):
    step()
assert time_of(others) > before + 0.01, (before, time_of(others))
assert threads() == there
fo.set_threading("pool")
step()
assert len(threads() - there) == 2
""", FASTOPTIM_NUM_THREADS="3", OMP_NUM_THREADS="3", GOMP_SPINCOUNT="100")


@needs_openmp
@pytest.mark.parametrize("variables", [
    {"FASTOPTIM_NUM_THREADS": "2"},
    {"FASTOPTIM_NUM_THREADS": "7", "OMP_NUM_THREADS": "7"},
    {"FASTOPTIM_NUM_THREADS": "7", "OMP_NUM_THREADS": "3"},
    # The runtime gives fewer threads than it says.
    {"FASTOPTIM_NUM_THREADS": "7", "OMP_NUM_THREADS": "7", "OMP_THREAD_LIMIT": "2"},
    {"FASTOPTIM_NUM_THREADS": "7", "OMP_NUM_THREADS": "7", "OMP_THREAD_LIMIT": "1"},
    {"FASTOPTIM_NUM_THREADS": "7", "OMP_NUM_THREADS": "7", "OMP_DYNAMIC": "true"},
], ids=str)
def test_the_same_bytes(variables):
    run("""
for n in (40_000, 300_000, LARGE + 1):
    assert adam(n=n) == adam_alone(n=n), n
large = np.arange(3_000_000.0).reshape(-1, 3)
batches = fo.MiniBatches(large, batch_size=500_000, seed=1)
for x in batches:
    assert (x[:, 1] == x[:, 0] + 1).all()
p, g = np.zeros(7 * 16 * 1024, np.float32), np.ones(7 * 16 * 1024, np.float32)
opt = fo.SGD(p, g, lr=1.0)
end = time.monotonic() + 1
while time.monotonic() < end:  # each block once, and before the step returns
    opt.step()
    assert (p == -opt.t).all(), (opt.t, np.unique(p))
""", **variables)


@needs_openmp
@needs_tasks
@pytest.mark.parametrize("ours, theirs, expected", [(2, 5, 1), (5, 2, 1), (4, 1, 0), (1, 4, 0)])
def test_the_team_is_as_small_as_the_smaller_number(ours, theirs, expected):
    run(f"""
before = threads()
fo.SGD(np.zeros(LARGE), np.ones(LARGE)).step()
assert len(threads() - before) == {expected}, threads() - before
""", FASTOPTIM_NUM_THREADS=str(ours), OMP_NUM_THREADS=str(theirs))


@needs_openmp
@needs_tasks
def test_inside_a_parallel_region_a_step_runs_on_the_calling_thread():
    run("""
expected = adam_alone()
found, there = [], []
def body(thread):
    if thread == 0:
        before = threads()
        found.append(adam())
        there.append(threads() - before)
region(2, body)
assert found == [expected] and there == [set()], there
assert adam() == expected
""", FASTOPTIM_NUM_THREADS="4", OMP_NUM_THREADS="4")


@needs_openmp
def test_a_forked_child_of_a_process_with_a_team_steps_serially():
    run("""
import signal
expected = adam()
child = os.fork()
if not child:
    signal.alarm(60)  # GCC's runtime would wait for threads that are not there
    same = adam() == expected and fo.get_num_threads() == 1
    same &= "forked" in fo.build_info()["threading_reason"]
    fo.set_threading("openmp")
    os._exit(0 if same and adam() == expected else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert adam() == expected
""", FASTOPTIM_NUM_THREADS="3", OMP_NUM_THREADS="3")


@needs_openmp
def test_the_team_rounds_as_the_caller_does_and_then_as_before():
    run("""
libm = ctypes.CDLL("libm.so.6")
modes = {}
region(3, lambda k: modes.__setitem__(k, libm.fegetround()))
assert set(modes.values()) == {0}
UPWARD = 0x800
libm.fesetround(UPWARD)
assert libm.fegetround() == UPWARD
fo.set_num_threads(1)
expected = adam()
fo.set_num_threads(3)
found = adam()
libm.fesetround(0)
region(3, lambda k: modes.__setitem__(k, libm.fegetround()))
assert modes == {0: 0, 1: 0, 2: 0}, modes
assert found == expected != adam()
""", FASTOPTIM_NUM_THREADS="3", OMP_NUM_THREADS="3")


@needs_openmp
def test_threads_that_step_at_once():
    run("""
expected = adam_alone(n=300_000)
found = []
def work():
    for _ in range(20):
        found.append(adam(n=300_000) == expected)
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for _ in range(100):
    fo.set_threading("pool")
    fo.set_threading("openmp")
    time.sleep(0.001)
for worker in workers: worker.join()
assert found == [True] * 80
""", FASTOPTIM_NUM_THREADS="3", OMP_NUM_THREADS="3")


@needs_openmp
def test_the_runtime_that_was_loaded_first_is_the_one(tmp_path):
    """Under the name that wheels give to theirs, beside the system's, which is loaded later."""
    out = run(f"""
import shutil
system = path()
copy = shutil.copy(system, {str(tmp_path / "libgomp-0a1b2c3d.so.1.0.0")!r})
code = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); import fastoptim as fo; " \\
       "fo.set_threading('openmp'); ctypes.CDLL(sys.argv[2]); fo.set_threading('openmp'); " \\
       "print(fo.build_info()['threading_reason'])"
import subprocess
environ = {{k: v for k, v in os.environ.items() if k != "FASTOPTIM_THREADING"}}
print(subprocess.run([sys.executable, "-c", code, copy, system], env=environ, check=True,
                     capture_output=True, text=True).stdout)
""", FASTOPTIM_NUM_THREADS="2")
    assert out.startswith(str(tmp_path / "libgomp-0a1b2c3d.so.1.0.0"))
