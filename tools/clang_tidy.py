#!/usr/bin/env python3
"""Runs clang-tidy over all of cpp/: ``tools/clang_tidy.py``. Needs CMake and pybind11."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "clang-tidy"


def main() -> int:
    subprocess.run(
        ["cmake", "-S", ROOT, "-B", BUILD, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
         "-DSKBUILD_PROJECT_VERSION=0", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
         f"-DPython_EXECUTABLE={sys.executable}"], check=True, stdout=subprocess.DEVNULL)

    def check(source: Path) -> subprocess.CompletedProcess:
        return subprocess.run(["clang-tidy", "-p", BUILD, "--quiet", source],
                              capture_output=True, text=True)

    sources = sorted((ROOT / "cpp").rglob("*.cpp"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [done for done in pool.map(check, sources) if done.returncode]
    for done in failed:
        print(done.stdout or done.stderr)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
