"""Steps inside of loops, beside the threads of other libraries: ``python bench/loop.py``.

    python bench/loop.py --processes 10                      # what docs/loops.md shows
    python bench/loop.py --loops nothing numpy --sizes 1e4 1e6 1e8 --seconds 5
    python bench/loop.py --loops numpy --blas-timeouts 10 16 20 22 24

Between the steps: nothing (but pauses), NumPy's matrix products, torch's forward and backward,
scikit-learn, numba; those that are installed. A step right after them is compared with a step 20 ms
later, when all other threads sleep; torch's fused step has its own loop. Every run is a process of
its own, as the placement of memory and threads differs from process to process: a figure is the
median over a process, then the median and the worst of the processes. The ways to run a step's
threads (FASTOPTIM_THREADING) and settings of BLAS take turns. By default two short processes each:
some two minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from common import count
from loops import LIBRARIES, find, report

import fastoptim as fo
from fastoptim.bench import machine


def available() -> list[str]:
    """The ways that this build and this system have, the default first."""
    before = fo.get_threading()
    try:
        fo.set_threading("openmp")
    except RuntimeError:  # no threads, or no OpenMP runtime
        return ["auto", "pool"]
    fo.set_threading(before)
    return ["auto", "pool", "openmp"]


def threading_ways(chosen: list[str] | None) -> dict[str, dict[str, str]]:
    """Way -> environment. The first is the default."""
    return {way: {"FASTOPTIM_THREADING": way} for way in chosen or available()}


def run(loop: str, n: int, seconds: float, environ: dict[str, str]) -> dict | None:
    """What a process of its own measures; None, and its last line on stderr, if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "loops.process", loop, str(n), str(seconds)],
        cwd=Path(__file__).parent, env={**os.environ, **environ}, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{loop}, {n} parameters, {environ}: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", nargs="+", choices=LIBRARIES, metavar="LOOP",
                        help=f"of {', '.join(LIBRARIES)} (default: all that are installed)")
    parser.add_argument("--sizes", type=count, nargs="+", metavar="N",
                        help="parameters, 1e4 to 1e8 (default: one for each loop)")
    parser.add_argument("--threading", nargs="+", choices=["auto", "pool", "openmp"],
                        help="the first is what the bars are about (default: all there are)")
    parser.add_argument("--blas-timeouts", type=int, nargs="*", default=[report.ASLEEP],
                        metavar="T", help="values of OPENBLAS_THREAD_TIMEOUT to try in the loop "
                                          f"numpy (default: {report.ASLEEP}, asleep at once)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5, help="in each (at least 3 rounds)")
    parser.add_argument("--threads", type=int, help="of every library (default: theirs)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.threads:  # before describe(), which the processes must agree with
        fo.set_num_threads(args.threads)
        os.environ |= {"FASTOPTIM_NUM_THREADS": str(args.threads),
                       "OMP_NUM_THREADS": str(args.threads)}

    installed = [name for name, (modules, _) in LIBRARIES.items()
                 if all(map(importlib.util.find_spec, modules))]
    for name in args.loops or LIBRARIES:
        if name not in installed:
            print(f"{name}: left out, needs {', '.join(LIBRARIES[name][0])}", file=sys.stderr)
    described = machine.describe()
    print(machine.header(described))
    print(f"processes for each row: {args.processes}; medians within a process")
    ways = threading_ways(args.threading)
    timeouts = {report.timeout_way(t): {"OPENBLAS_THREAD_TIMEOUT": str(t)}
                for t in args.blas_timeouts}
    runs = []
    for name in [name for name in args.loops or LIBRARIES if name in installed]:
        sizes = args.sizes or [find(name)[0]]
        settings = ways | (timeouts if name == "numpy" else {})
        for n in sizes:
            for _ in range(args.processes):  # in turns, so that other load affects all alike
                for way, environ in list(settings.items()):
                    found = run(name, n, args.seconds, environ)
                    if found is None:
                        del settings[way]  # as without an OpenMP runtime
                    else:
                        runs.append(found | {"way": way})
    runs.sort(key=lambda run: list(LIBRARIES).index(run["loop"]))
    print(report.tables(runs))
    print(report.bars_text(runs))
    if args.json:
        content = {"machine": described, "processes": args.processes, "runs": runs}
        args.json.write_text(json.dumps(content, indent=1) + "\n")
    if args.picture:
        report.draw(args.picture, described, runs)


if __name__ == "__main__":
    main()
