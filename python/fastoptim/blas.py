"""The BLAS of NumPy's matrix products: its name, its threads, and how long they spin.

After a product, the threads of most BLAS libraries keep a processor busy for a while, waiting for
the next one: on the processors that the threads of a step need. ``fastoptim info`` prints what is
known of them. Asks the loaded library itself, through ctypes; what it does not say is left out.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastoptim import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Blas", "describe", "find"]

# As driver/others/blas_server.c of OpenBLAS has them: powers of two of the processor's time-stamp
# counter. A value of the environment below or above the limits is taken as the limit.
OPENBLAS_DEFAULT, OPENBLAS_LIMITS = 26, (4, 30)
# Sleep 64 times sooner than by default. docs/loops.md has steps beside it, and says when it pays.
OPENBLAS_ADVISED = 20
PTHREADS, OPENMP = 1, 2  # what openblas_get_parallel returns; 0: no threads


class Blas(NamedTuple):
    """What is known of a BLAS; None where it does not say."""

    name: str
    version: str | None = None
    kernels: str | None = None  # the processor that its kernels were chosen for
    threads: int | None = None
    threading: str | None = None  # "OpenMP", "its own threads" or "one thread"
    spin: str | None = None  # how long its threads wait for more work before they sleep
    advice: str | None = None  # what to set in the environment, where that pays


def _open(paths: Iterable[str], *words: str) -> Iterator[ctypes.CDLL]:
    """Yield the libraries whose paths contain one of the words, NumPy's own before others."""
    # The whole path: Debian's is openblas-pthread/libblas.so.3.
    fitting = [path for path in paths if any(word in path.lower() for word in words)]
    for path in sorted(fitting, key=lambda path: "numpy" not in path):
        try:
            yield ctypes.CDLL(path)  # loaded already: another handle to the same object
        except OSError:  # no library: a mapped file
            pass


def _call(library: ctypes.CDLL, name: str, result: type = ctypes.c_int) -> int | bytes | None:
    """Call a function of OpenBLAS under any of the names that builds give it."""
    for prefix in ("", "scipy_"):
        for suffix in ("", "64_", "_64"):
            function = getattr(library, f"{prefix}openblas_{name}{suffix}", None)
            if function is not None:
                function.restype, function.argtypes = result, ()
                value: int | bytes | None = function()
                return value
    return None


def _clock_hz() -> float | None:
    """Return the rate of x86's time-stamp counter, nearly; None where it is not known."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(1e6 * float(line.split(":")[1]) for line in file
                        if line.startswith("cpu MHz"))
    except (OSError, StopIteration, ValueError):
        return None


def _openblas_spin(timeout: int, hz: float | None) -> tuple[int, str]:
    """Return the power of two of the cycles that a thread spins, and the same in words."""
    low, high = OPENBLAS_LIMITS
    power = min(max(timeout, low), high) if timeout > 0 else OPENBLAS_DEFAULT
    set_to = f"OPENBLAS_THREAD_TIMEOUT={timeout}" if timeout > 0 else "the default"
    time = f", {1000 * 2**power / hz:.2g} ms" if hz else ""
    return power, f"2^{power} cycles{time} ({set_to})"


def _openblas(library: ctypes.CDLL, name: str, version: str | None) -> Blas:
    threads, parallel = _call(library, "get_num_threads"), _call(library, "get_parallel")
    kernels = _call(library, "get_corename", ctypes.c_char_p)
    spin = advice = None
    if parallel == OPENMP:
        spin = _OPENMP_SPIN
    elif parallel == PTHREADS and isinstance(threads, int) and threads > 1:
        # The value that it read when it was loaded, which the environment may hold no longer.
        timeout = _call(library, "thread_timeout")
        if isinstance(timeout, int):
            power, spin = _openblas_spin(timeout, _clock_hz())
            if power > OPENBLAS_ADVISED:
                advice = f"set OPENBLAS_THREAD_TIMEOUT={OPENBLAS_ADVISED}, see docs/loops.md"
    return Blas(
        name, version, kernels.decode() if isinstance(kernels, bytes) else None,
        threads if isinstance(threads, int) else None,
        {PTHREADS: "its own threads", OPENMP: "OpenMP", 0: "one thread"}.get(parallel)
        if isinstance(parallel, int) else None, spin, advice)


# libgomp reads the first two, the runtimes of LLVM and Intel the last two.
_OPENMP_SPIN = "as OMP_WAIT_POLICY, GOMP_SPINCOUNT or KMP_BLOCKTIME say"


def _mkl(library: ctypes.CDLL, name: str, version: str | None) -> Blas:
    block_time = os.environ.get("KMP_BLOCKTIME")
    return Blas(name, version, threads=int(library.MKL_Get_Max_Threads()), threading="OpenMP",
                spin=f"KMP_BLOCKTIME={block_time}" if block_time else
                "200 ms (the default of Intel's OpenMP runtime)",
                advice=None if block_time else "try KMP_BLOCKTIME=0, see docs/loops.md")


def find() -> Blas:
    """Return what is known of the BLAS that NumPy was built with and that this process loaded."""
    config = np.show_config(mode="dicts")
    built = config.get("Build Dependencies", {}).get("blas", {}) if config else {}
    name, version = built.get("name") or "unknown", built.get("version")
    paths = _core.loaded_objects()
    # Where a distribution lets the administrator choose the library behind libblas, the build's
    # name says little: whichever is loaded counts.
    for library in _open(paths, "openblas"):
        if _call(library, "get_num_threads") is not None:
            return _openblas(library, name if "openblas" in name else "openblas", version)
    for library in _open(paths, "mkl_rt", "mkl_core"):
        if hasattr(library, "MKL_Get_Max_Threads"):
            return _mkl(library, name if "mkl" in name else "mkl", version)
    if "accelerate" in name.lower():
        return Blas(name, version, threading="the system's threads",
                    spin="not known; there is nothing to set but VECLIB_MAXIMUM_THREADS")
    return Blas(name, version)


def describe() -> dict[str, str]:
    """Return the same as lines of ``fastoptim info``: name -> text."""
    blas = find()
    lines = {"blas": ", ".join(filter(None, [
        " ".join(filter(None, [blas.name, blas.version])), blas.kernels])),
        "blas_threads": "unknown" if blas.threads is None else str(blas.threads)}
    if blas.threading:
        lines["blas_threads"] += f", {blas.threading}"
    if blas.spin:
        lines["blas_spin"] = blas.spin
    if blas.advice:
        lines["blas_advice"] = blas.advice
    return lines
