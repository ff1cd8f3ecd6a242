"""`fastoptim info` names NumPy's BLAS, its threads and how long they spin."""

import ctypes
import shutil
import subprocess
import sys

import pytest

from fastoptim import _core, blas, cli

from support import child


def lines(**environ):
    """What `fastoptim info` prints in a process with these variables: name -> text."""
    ran = child.python("-m", "fastoptim", "info", **environ)
    assert ran.returncode == 0 and ran.stderr == ""
    assert ran.stdout.isascii()
    return {line.split()[0]: line[15:] for line in ran.stdout.splitlines()}


def test_info_is_the_first_block_of_a_bug_report(capsys):
    assert cli.main(["info"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"version", "isa", "isa_available", "threads", "compiler", "processor", "memory",
            "huge_pages", "system", "python", "numpy", "blas", "blas_threads"} <= set(names)
    assert len(names) == len(set(names))


@pytest.fixture
def openblas():
    """The BLAS of this NumPy, if it is an OpenBLAS with threads of its own."""
    found = blas.find()
    if "openblas" not in found.name or found.threading != "its own threads":
        pytest.skip(f"NumPy's BLAS is {found.name}, {found.threading}")
    return found


@pytest.mark.parametrize("timeout, power, advised", [
    (None, 26, True), ("26", 26, True), ("21", 21, True), ("20", 20, False), ("10", 10, False),
    ("1", 4, False), ("40", 30, True), ("0", 26, True),
])
def test_info_tells_how_long_openblas_spins(timeout, power, advised, openblas):
    info = lines(OPENBLAS_THREAD_TIMEOUT=timeout, OPENBLAS_NUM_THREADS="2")
    assert info["blas_threads"].startswith("2, its own threads")
    assert info["blas_spin"].startswith(f"2^{power} cycles")
    assert (f"OPENBLAS_THREAD_TIMEOUT={timeout}" if timeout not in (None, "0") else "the default"
            ) in info["blas_spin"]
    assert ("blas_advice" in info) == advised
    assert all(len(line) <= 65 for name, line in info.items() if name.startswith("blas"))


def test_one_thread_spins_for_nobody(openblas):
    info = lines(OPENBLAS_NUM_THREADS="1")
    assert info["blas_threads"].startswith("1")
    assert "blas_spin" not in info and "blas_advice" not in info


def test_what_openblas_read_counts_not_what_the_environment_says_later(openblas):
    code = ("import numpy, os; os.environ['OPENBLAS_THREAD_TIMEOUT'] = '12'; "
            "from fastoptim import blas; print(blas.find().spin)")
    assert child.run(code, OPENBLAS_THREAD_TIMEOUT="15", OPENBLAS_NUM_THREADS="2"
                     ).startswith("2^15 cycles")


def test_the_threads_are_those_that_threadpoolctl_finds():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    found = [pool for pool in threadpoolctl.threadpool_info()
             if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    if not found:
        pytest.skip("NumPy brings no BLAS of its own")
    with threadpoolctl.threadpool_limits(1):
        assert blas.find().threads == 1
    assert blas.find().threads == found[0]["num_threads"]
    assert blas.find().kernels == found[0]["architecture"]


def library(tmp_path, name, source):
    """A loaded library that has the functions by which another BLAS is known."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("compiles a shared object for Linux")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=source,
                   text=True, check=True)
    return ctypes.CDLL(str(path))  # the caller keeps it


OTHERS = {
    "libmkl_rt.so.2": (
        "int MKL_Get_Max_Threads(void) { return 3; }",
        ("mkl", 3, "OpenMP"), "200 ms", "KMP_BLOCKTIME"),
    "openblas-openmp/libblas.so.3": (  # as Debian names it
        "int openblas_get_num_threads(void) { return 5; }"
        "int openblas_get_parallel(void) { return 2; }"
        "const char *openblas_get_corename(void) { return \"Zen\"; }",
        ("openblas", 5, "OpenMP"), "GOMP_SPINCOUNT", None),
    "libopenblas64_.so": (
        "int openblas_get_num_threads64_(void) { return 7; }"
        "int openblas_get_parallel64_(void) { return 1; }"
        "int openblas_thread_timeout(void) { return 0; }",
        ("openblas", 7, "its own threads"), "2^26 cycles", "OPENBLAS_THREAD_TIMEOUT=20"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_blas_libraries(name, tmp_path, monkeypatch):
    source, (kind, threads, threading), spin, advice = OTHERS[name]
    kept = library(tmp_path, name, source)
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    paths = [path for path in _core.loaded_objects() if str(tmp_path) in path]
    assert paths == [kept._name]
    monkeypatch.setattr(_core, "loaded_objects", lambda: paths)
    found = blas.find()
    assert kind in found.name
    assert (found.threads, found.threading) == (threads, threading)
    assert spin in found.spin
    assert (advice in found.advice) if advice else found.advice is None


def test_a_file_that_is_no_blas_is_passed_over(tmp_path, monkeypatch):
    path = tmp_path / "openblas.txt"
    path.write_text("not a library")
    monkeypatch.setattr(_core, "loaded_objects", lambda: [str(path)])
    found = blas.describe()
    assert found["blas_threads"] == "unknown" and "blas_spin" not in found


def test_import_does_not_look_for_it():
    code = "import sys, fastoptim; print('fastoptim.blas' in sys.modules, 'ctypes' in sys.modules)"
    assert child.run(code).split()[0] == "False"
