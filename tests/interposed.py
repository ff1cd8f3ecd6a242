"""Child processes in which allocations are counted, and memory and threads can run out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "bench" / "interpose.cpp"

PRELUDE = """
import ctypes, os, sys, threading, time
import numpy as np
import fastoptim as fo

process = ctypes.CDLL(None)
allocations = process.interpose_allocations
limit_news, refuse_threads = process.interpose_limit_news, process.interpose_refuse_threads
others = len(os.listdir("/proc/self/task"))  # NumPy's
n_workers = lambda: len(os.listdir("/proc/self/task")) - others
"""


@pytest.fixture(scope="session")
def interposed(tmp_path_factory):
    """run(code, **environ) -> what it prints, in a process with bench/interpose.cpp."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or sys.platform != "linux" or not SOURCE.exists():
        pytest.skip("needs glibc, a C++ compiler and the sources")
    library = tmp_path_factory.mktemp("interposed") / "interpose.so"
    subprocess.run([compiler, "-std=c++17", "-O1", "-shared", "-fPIC", SOURCE, "-o", library],
                   check=True)

    def run(code, timeout=60, **environ):
        done = subprocess.run([sys.executable, "-c", PRELUDE + code], capture_output=True,
                              text=True, timeout=timeout, check=False,
                              env={**os.environ, "LD_PRELOAD": str(library), **environ})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
