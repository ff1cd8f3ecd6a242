"""How many threads the kernels use and whose they are, and what was built."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastoptim import _core, checks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, TypeAlias, TypedDict

    Threading: TypeAlias = Literal["auto", "pool", "openmp"]

    class BuildInfo(TypedDict):
        """What build_info returns."""

        version: str
        isa: str
        isa_available: list[str]
        isa_built: list[str]
        threads: int
        threading: str
        threading_reason: str
        compiler: str

__all__ = ["build_info", "get_num_threads", "get_threading", "set_num_threads", "set_threading"]

# An upper bound that catches typing errors. Fewer threads than that saturate any memory bus.
MAX_THREADS = 1024

THREADING = ("auto", "pool", "openmp")


def get_num_threads() -> int:
    """Return the number of threads that large updates use.

    At import it is ``FASTOPTIM_NUM_THREADS``, else ``OMP_NUM_THREADS``, else
    the number of processors that this process may run on (its affinity and its
    control group's quota).

    Returns
    -------
    int
        From 1 to 1024; 1 in a forked child.

    Examples
    --------
    >>> import fastoptim as fo
    >>> fo.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads that large updates use.

    No result depends on it.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.
    RuntimeError
        If `n` is above 1 in a child forked from a process that had imported
        fastoptim, where all runs on one thread.

    Examples
    --------
    >>> import fastoptim as fo
    >>> fo.set_num_threads(fo.get_num_threads())
    """
    n = checks.integer("n", n, low=1, high=MAX_THREADS)
    if n > 1 and _core.forked():
        raise RuntimeError(
            f"a forked child runs on one thread, got n = {n}: start processes with "
            "multiprocessing's 'spawn' or 'forkserver' to use more"
        )
    _core.set_num_threads(n)


def get_threading() -> Threading:
    """Return whose threads large updates use: what `set_threading` was given.

    At import it is ``FASTOPTIM_THREADING``, else ``"auto"``. Which runtime that
    means, and why, is in `build_info`.

    Returns
    -------
    {"auto", "pool", "openmp"}
        As in `set_threading`.

    Examples
    --------
    >>> import fastoptim as fo
    >>> fo.get_threading()
    'auto'
    """
    choice: Threading = _core.threading()  # type: ignore[assignment]
    return choice


def set_threading(choice: Threading) -> None:
    """Set whose threads large updates use.

    No result depends on it.

    Parameters
    ----------
    choice : {"auto", "pool", "openmp"}
        ``"pool"``: threads of fastoptim's own. ``"openmp"``: the team of the
        OpenMP runtime that another library has loaded, or else of the system's,
        which is loaded now. ``"auto"``: the team of torch's OpenMP runtime for
        the steps of optimizers with parameters or gradients of torch, the pool
        for all else.

    Raises
    ------
    ValueError
        If `choice` is none of these.
    RuntimeError
        If `choice` is ``"openmp"`` and there is no OpenMP runtime.

    Notes
    -----
    The threads of torch keep running for some milliseconds after each
    operation. A step in their team finds them running, where other threads
    would wait for the processors that they hold. The threads of NumPy's matrix
    products do so too, but are no OpenMP team.

    The team is never larger than `get_num_threads`, nor than what the runtime
    allows: ``OMP_NUM_THREADS``, ``torch.set_num_threads``. Of several runtimes
    in a process, torch's serves torch's arrays; with ``"openmp"``, other arrays
    are served by torch's if it was loaded then, else by the one that was loaded
    first.

    In a forked child, and within a parallel region of the runtime, a step runs
    on the calling thread.

    Examples
    --------
    >>> import fastoptim as fo
    >>> fo.set_threading("pool")
    >>> fo.get_threading()
    'pool'
    >>> fo.set_threading("auto")
    """
    if choice not in THREADING:
        raise ValueError(f"choice must be one of {THREADING}, got {choice!r}")
    _core.set_threading(choice)


def _threading_reason() -> str:
    """Return which threads a step uses now, and why."""
    if _core.forked():
        return "the calling thread: this process was forked from one that had imported fastoptim"
    if _core.num_threads() == 1:
        return "the calling thread: the number of threads is 1"
    choice = _core.threading()
    torch, other = _core.openmp_paths()
    if choice == "pool":
        return "the pool: set_threading or FASTOPTIM_THREADING asked for it"
    if choice == "openmp":
        reason = f"{other}: set_threading or FASTOPTIM_THREADING asked for OpenMP"
        return reason + (f"; {torch} for torch's arrays" if torch not in (None, other) else "")
    if torch is None:
        return "the pool: torch is not loaded, or has no OpenMP runtime"
    return f"the pool; for torch's arrays {torch}, whose threads torch keeps running"


def build_info() -> BuildInfo:
    """Return what is known of the installed core.

    Returns
    -------
    dict
        ``version``, ``isa`` (the instruction set in use), ``isa_available``
        (those of this processor), ``isa_built``, ``threads``, ``threading`` (as
        `get_threading`), ``threading_reason`` (whose threads a step uses, and
        why) and ``compiler``.

    Examples
    --------
    >>> import fastoptim as fo
    >>> fo.build_info()["isa"] in fo.build_info()["isa_available"]
    True
    """
    return {
        "version": _core.version(),
        "isa": _core.isa(),
        "isa_available": _core.available_isas(),
        "isa_built": _core.built_isas(),
        "threads": _core.num_threads(),
        "threading": _core.threading(),
        "threading_reason": _threading_reason(),
        "compiler": _core.compiler(),
    }


def _numbers(*path: str) -> list[str]:
    """Return the words of a small file; none if there is no such file."""
    try:
        with open(os.path.join(*path)) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def _cgroup_quota(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int | None:
    """Return the processors that the control group allows, rounded up; None without a limit."""
    root = os.fspath(root)  # tests give a Path
    quotas = []
    try:
        with open(own) as file:
            lines = file.read().splitlines()
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers == "":  # version 2: every group up to the root may set a limit
                folder = os.path.join(root, path.strip("/")).rstrip("/")
                while True:
                    quota, period = _numbers(folder, "cpu.max") or ("max", "1")
                    if quota != "max":
                        quotas.append(-(-int(quota) // int(period)))
                    if len(folder) <= len(root):
                        break
                    folder = os.path.dirname(folder)
            elif "cpu" in controllers.split(","):  # version 1
                for folder in (os.path.join(root, "cpu", path.strip("/")), f"{root}/cpu"):
                    allowed = int((_numbers(folder, "cpu.cfs_quota_us") or ["-1"])[0])
                    if allowed > 0:
                        period = _numbers(folder, "cpu.cfs_period_us")[0]
                        quotas.append(-(-allowed // int(period)))
    except (OSError, ValueError, IndexError):
        pass  # no control groups, or none that can be read: no limit known
    return max(1, min(quotas)) if quotas else None


def _default_num_threads(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of threads at import; ValueError if the environment asks for none."""
    ours = environ.get("FASTOPTIM_NUM_THREADS", "")
    if ours:
        # At most 9 digits: int() may refuse thousands of them.
        if not ours.isdecimal() or len(ours) > 9 or not 1 <= int(ours) <= MAX_THREADS:
            raise ValueError(
                f"FASTOPTIM_NUM_THREADS must be an integer in [1, {MAX_THREADS}], got {ours!r}"
            )
        return int(ours)
    everyones = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list: one a level
    if everyones.isdecimal() and len(everyones) <= 9 and 1 <= int(everyones) <= MAX_THREADS:
        return int(everyones)
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return min(allowed, _cgroup_quota() or allowed, MAX_THREADS)


_core.set_num_threads(_default_num_threads())


def _default_threading(environ: Mapping[str, str] = os.environ) -> str:
    """Return whose threads are used at import; ValueError if the environment asks for others."""
    choice = environ.get("FASTOPTIM_THREADING", "") or "auto"
    if choice not in THREADING:
        raise ValueError(f"FASTOPTIM_THREADING must be one of {THREADING}, got {choice!r}")
    return choice


if _default_threading() != "auto":
    _core.set_threading(_default_threading())
