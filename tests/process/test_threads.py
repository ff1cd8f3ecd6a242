"""How many threads, and which instruction set: what is asked for, and by whom."""

import os
import platform
import shutil
import subprocess

import pytest

import fastoptim as fo
import fastoptim._core
from fastoptim import threads

from support import child


@pytest.mark.parametrize("n", [1, 2, 7, 1024])
def test_the_number_set_is_the_number_got(n):
    fo.set_num_threads(n)
    assert fo.get_num_threads() == fo.build_info()["threads"] == n


@pytest.mark.parametrize("n, error, match", [
    (0, ValueError, r"n must be in \[1, 1024\], got 0"),
    (-1, ValueError, r"n must be in \[1, 1024\], got -1"),
    (1025, ValueError, r"n must be in \[1, 1024\], got 1025"),
    (10**30, ValueError, r"n must be in \[1, 1024\], got 1000"),
    (2.0, TypeError, r"n must be an integer, got 2\.0"),
    ("2", TypeError, "n must be an integer, got '2'"),
    (True, TypeError, "n must be an integer, got True"),
    (None, TypeError, "n must be an integer, got None"),
])
def test_a_refused_number_changes_nothing(n, error, match):
    before = fo.get_num_threads()
    with pytest.raises(error, match=match):
        fo.set_num_threads(n)
    assert fo.get_num_threads() == before


@pytest.fixture
def four_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5, 7}, raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: None)


@pytest.mark.parametrize("environ, expected", [
    ({}, 4),
    ({"FASTOPTIM_NUM_THREADS": "3"}, 3),
    ({"FASTOPTIM_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
    ({"FASTOPTIM_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2),
    ({"OMP_NUM_THREADS": "2,1"}, 2),  # a list, one number a level of nesting
    ({"OMP_NUM_THREADS": " 9 "}, 9),
    # Another library's variable is not ours to complain of.
    ({"OMP_NUM_THREADS": "many"}, 4),
    ({"OMP_NUM_THREADS": "0"}, 4),
    ({"OMP_NUM_THREADS": "99999999999"}, 4),
    ({"OMP_NUM_THREADS": "9" * 5000}, 4),
])
def test_the_default(four_processors, environ, expected):
    assert threads._default_num_threads(environ) == expected


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", "1025", "99999999999", "9" * 5000])
def test_a_wrong_variable_of_ours_is_an_error(four_processors, value):
    with pytest.raises(ValueError, match=r"FASTOPTIM_NUM_THREADS must be an integer in "
                                         rf"\[1, 1024\], got '{value}'"):
        threads._default_num_threads({"FASTOPTIM_NUM_THREADS": value})


@pytest.mark.parametrize("quota, expected", [(1, 1), (3, 3), (64, 4), (None, 4)])
def test_a_quota_lowers_the_default(four_processors, monkeypatch, quota, expected):
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: quota)
    assert threads._default_num_threads({}) == expected


def test_without_affinity_the_processors_are_counted(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert threads._default_num_threads({}) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads._default_num_threads({}) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 5000)
    assert threads._default_num_threads({}) == 1024


# own: what /proc/self/cgroup says; files: what lies under /sys/fs/cgroup.
V1 = "12:memory:/box\n4:cpu,cpuacct:/box\n"


@pytest.mark.parametrize("own, files, expected", [
    pytest.param("0::/\n", {"cpu.max": "200000 100000\n"}, 2, id="v2"),
    pytest.param("0::/\n", {"cpu.max": "250000 100000\n"}, 3, id="v2 rounded up"),
    pytest.param("0::/\n", {"cpu.max": "1000 100000\n"}, 1, id="v2 a sliver"),
    pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, None, id="v2 without a limit"),
    pytest.param("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1,
                 id="v2 limited by a group above"),
    pytest.param("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "300000 100000\n"},
                 3, id="v2 the narrowest group counts"),
    pytest.param("0::/../elsewhere\n", {"cpu.max": "200000 100000\n"}, 2,
                 id="v2 a group outside of the namespace"),
    pytest.param(V1, {"cpu/box/cpu.cfs_quota_us": "150000\n",
                      "cpu/box/cpu.cfs_period_us": "50000\n"}, 3, id="v1"),
    pytest.param(V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2,
                 id="v1 in a container, which sees its own group as the root"),
    pytest.param(V1, {"cpu/box/cpu.cfs_quota_us": "-1\n",
                      "cpu/box/cpu.cfs_period_us": "100000\n"}, None, id="v1 without a limit"),
    pytest.param("7:memory:/box\n", {"cpu/cpu.cfs_quota_us": "100000\n",
                                     "cpu/cpu.cfs_period_us": "100000\n"}, None,
                 id="v1 not of the cpu controller"),
    pytest.param("0::/\n", {}, None, id="no files"),
    pytest.param("0::/\n", {"cpu.max": "what?\n"}, None, id="unreadable"),
    pytest.param("nonsense\n", {"cpu.max": "100000 100000\n"}, None, id="nonsense"),
])
def test_the_quota_of_a_control_group(tmp_path, own, files, expected):
    root = tmp_path / "cgroup"
    root.mkdir()
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert threads._cgroup_quota(root, tmp_path / "own") == expected


def test_no_control_groups_at_all(tmp_path):
    assert threads._cgroup_quota(tmp_path, tmp_path / "missing") is None


NO_VARIABLES = {k: None for k in os.environ if k.startswith(("FASTOPTIM_", "OMP_"))}


def import_with(**environ):
    code = "import fastoptim as fo; info = fo.build_info(); print(info['isa'], info['threads'])"
    return child.python("-c", code, **NO_VARIABLES | environ)


def test_the_variables_are_read_at_import():
    done = import_with(FASTOPTIM_NUM_THREADS="5", FASTOPTIM_ISA="baseline")
    assert (done.stdout, done.stderr) == ("baseline 5\n", "")
    best = fo.build_info()["isa_available"][-1]
    assert import_with(FASTOPTIM_ISA="", OMP_NUM_THREADS="3").stdout == f"{best} 3\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_respected_at_import():
    code = ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
            "import fastoptim; print(fastoptim.get_num_threads())")
    assert child.run(code, **NO_VARIABLES) == "1\n"


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "baseline,avx2"])
def test_an_instruction_set_that_is_not_there_is_named_with_those_that_are(name):
    done = import_with(FASTOPTIM_ISA=name)
    available = ", ".join(fo.build_info()["isa_available"])
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(
        f"FASTOPTIM_ISA must be one of those available here ({available}), got '{name}'"
    )


def test_an_instruction_set_that_was_built_but_does_not_run_here_is_refused():
    info = fo.build_info()
    missing = [isa for isa in info["isa_built"] if isa not in info["isa_available"]]
    if not missing:
        pytest.skip("this processor has every instruction set that was built")
    for isa in missing:
        assert f"got '{isa}'" in import_with(FASTOPTIM_ISA=isa).stderr


def test_each_block_is_stepped_once_and_before_the_step_returns():
    """By threads that take pieces from each other's shares, and wait for processors meanwhile."""
    child.run("""
import time
import numpy as np, fastoptim as fo
threads = 7
n = threads * 16 * 1024  # a block a piece
p, g = np.zeros(n, np.float32), np.ones(n, np.float32)
opt = fo.SGD(p, g, lr=1.0)
end = time.monotonic() + 4
while time.monotonic() < end:
    opt.step()
    assert (p == -opt.t).all(), (opt.t, np.unique(p))
""", FASTOPTIM_NUM_THREADS="7")


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="no /proc here")
def test_medium_steps_wake_threads_only_if_they_follow_each_other():
    child.run("""
import os, sys, time
import numpy as np, fastoptim as fo
def time_of_others():  # s on a processor
    times = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/schedstat") as file:
                times += int(file.read().split()[0])
    return times / 1e9
def taken_by(loop):
    before = time_of_others()
    loop()
    time.sleep(0.05)
    return time_of_others() - before
p, g = np.zeros(100_000, np.float32), np.ones(100_000, np.float32)
large = fo.SGD(np.zeros(1_000_000, np.float32), np.ones(1_000_000, np.float32))
while taken_by(lambda: None) > 0:  # NumPy's BLAS threads spin when they have just started
    pass
if taken_by(lambda: [large.step() for _ in range(200)]) < 0.001:
    sys.exit()  # a build without threads
step = fo.SGD(p, g).step
def after_pauses():
    for _ in range(300):
        time.sleep(0.0005)
        step()
def at_once():
    for _ in range(300):
        step()
assert taken_by(after_pauses) < 0.001
end = time.monotonic() + 20
while taken_by(at_once) < 0.001:
    assert time.monotonic() < end, "no thread helps"
""", FASTOPTIM_NUM_THREADS="2")


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="no /proc here")
def test_threads_that_a_lower_number_leaves_over_are_not_woken():
    child.run("""
import os, time
import numpy as np, fastoptim as fo
def turns():  # of each thread on a processor, but of the caller
    counts = {}
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/schedstat") as file:
                counts[task] = int(file.read().split()[2])
    return counts
def turns_at_rest():  # on a busy machine a thread may have its last turn late
    before, now = None, turns()
    while now != before:
        time.sleep(0.2)
        before, now = now, turns()
    return now
def moved(loop):
    before = turns_at_rest()
    loop()
    return sum(count != before.get(task) for task, count in turns_at_rest().items())
step = fo.SGD(np.zeros(1_000_000), np.ones(1_000_000)).step
def steps():
    for _ in range(100):
        step()
fo.set_num_threads(20)
steps()
for n in (3, 1):
    fo.set_num_threads(n)
    assert moved(steps) <= n - 1, (n, moved(steps))
assert moved(lambda: fo.Permutation(100_000)[:20_000]) == 0
""")


@pytest.mark.skipif(shutil.which("objdump") is None or platform.machine() != "x86_64",
                    reason="needs objdump, and non-temporal stores")
def test_what_is_stored_past_the_caches_is_fenced():
    """No test of bytes shows it here: every lock that follows today happens to be one, too."""
    code = subprocess.run(["objdump", "-d", fastoptim._core.__file__], check=True, text=True,
                          capture_output=True).stdout
    assert "movnt" in code
    assert "sfence" in code
