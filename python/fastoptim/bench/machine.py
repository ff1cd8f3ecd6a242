"""The machine and the build that figures are measured on, and how much memory there is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

import fastoptim as fo


def _first_match(pattern: str, path: str) -> str | None:
    """Returns what the pattern's group matches in a file; None without the file or a match."""
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return match[1].strip() if match else None


def _memory(kind: str, path: str = "/proc/meminfo") -> int | None:
    """An entry such as MemTotal or VmHWM in bytes, None where the system does not say."""
    kibibytes = _first_match(rf"^{kind}:\s*(\d+) kB", path)
    return None if kibibytes is None else int(kibibytes) * 1024


def available_memory() -> int:
    """Bytes of free memory; 4 GiB where the system does not say."""
    return _memory("MemAvailable") or 4 << 30


def total_memory() -> int:
    """Bytes of the machine's memory; 2^63 where the system does not say."""
    return _memory("MemTotal") or 1 << 63


def resident_memory() -> int:
    """Bytes of physical memory that this process has now; 0 where the system does not say."""
    return _memory("VmRSS", "/proc/self/status") or 0


def peak_memory() -> int:
    """The most bytes of physical memory that this process ever had."""
    return _memory("VmHWM", "/proc/self/status") or 0


def _caches() -> dict[str, str]:
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip()
                                 for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            kibibytes = int(size.rstrip("K"))
            caches[f"L{level}"] = (f"{kibibytes // 1024} MiB" if kibibytes >= 1024
                                   else f"{kibibytes} KiB")
    return caches


def _cpu() -> str:
    return _first_match(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine()


def _processors() -> int | None:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _huge_pages() -> str | None:
    return _first_match(r"\[(\w+)\]", "/sys/kernel/mm/transparent_hugepage/enabled")


def system() -> dict[str, str]:
    """The machine and what Python runs on it, as lines of ``fastoptim info``: name -> text."""
    memory = _memory("MemTotal")
    return {
        "processor": f"{_cpu()}, {_processors()} of {os.cpu_count()} for this process",
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "unknown",
        "huge_pages": _huge_pages() or "unknown",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
    }


def describe() -> dict[str, Any]:
    """The machine and the build, as a dict for JSON."""
    info = fo.build_info()
    return {
        "cpu": _cpu(),
        "processors": _processors(),
        "caches": _caches(),
        "memory": _memory("MemTotal"),
        "huge_pages": _huge_pages(),
        "system": f"{platform.system()} {platform.release()}",
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": fo.get_num_threads(),
        "isa": info["isa"],
        "compiler": info["compiler"],
        "fastoptim": info["version"],
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def plural(count: int, thing: str) -> str:
    return f"{count} {thing}" + "s" * (count != 1)


def threads_text(machine: dict[str, Any]) -> str:
    return plural(machine["threads"], "thread")


def footnote(machine: dict[str, Any]) -> str:
    """The machine in one line, for a picture."""
    return f"{threads_text(machine)}, {machine['isa']}, {machine['cpu']}"


def header(machine: dict[str, Any]) -> str:
    """The machine in a few lines, for a terminal."""
    memory = machine["memory"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    load = machine["load_at_start"]
    lines = [
        f"{threads_text(machine)}, {machine['isa']}, fastoptim {machine['fastoptim']} "
        f"({machine['compiler']}), NumPy {machine['numpy']}",
        f"{machine['cpu']}, {plural(machine['processors'], 'processor')}, "
        + (caches or "caches unknown"),
        (f"{memory / 2**30:.0f} GiB of memory" if memory else "memory unknown")
        + f", huge pages: {machine['huge_pages'] or 'unknown'}"
        + (f", load when it began: {load:.1f}" if load is not None else ""),
    ]
    return "\n".join(line[:80] for line in lines)
