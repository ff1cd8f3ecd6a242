"""What the programs of this folder share: arguments, numbers of threads, processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def count(text: str) -> int:
    """An argument that is a number of elements: 1000 or 1e3."""
    return int(float(text))


def prepare(threads: int) -> None:
    """Gives every library so many threads; to be called before any of them is imported."""
    if hasattr(os, "sched_setaffinity"):  # the one setting that all of them respect
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ.update(
        OMP_NUM_THREADS=str(threads), FASTOPTIM_NUM_THREADS=str(threads),
        JAX_PLATFORMS="cpu", THP_MEM_ALLOC_ENABLE="1",  # torch: huge pages, as NumPy has
        DS_SKIP_CUDA_CHECK="1",
    )
    # deepspeed looks for ninja there
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def in_new_process(code: str, *arguments: object, **environ: str) -> list[float]:
    """Runs Python code in a process of its own and returns the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True,
                          stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
    return [float(word) for word in done.stdout.split()]
