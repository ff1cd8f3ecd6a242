"""``fastoptim bench``: the step beside NumPy's and beside the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import fastoptim as fo

if TYPE_CHECKING:
    from .report import Row

__all__ = ["QUICK_SIZES", "RULES", "SIZES", "run"]

SIZES = tuple(10**k for k in range(3, 9))
QUICK_SIZES = (10**3, 10**5, 10**7)
RULES = ("sgd", "momentum", "rmsprop", "adam")

_EXPLANATION = """\
The roofline is the time of a plain loop with the same loads and stores, without
a call from Python for each pass. NumPy in place has its buffers allocated
beforehand; the one-liner makes temporaries. All take turns; medians of at least
7 rounds, of the times and of the ratios within a round."""


def run(
    *,
    sizes: Sequence[int] = SIZES,
    rules: Sequence[str] = RULES,
    dtype: str = "float32",
    threads: int | None = None,
    seconds: float = 5.0,
    json: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Measure each rule at each size, print the tables, and write the files named.

    Each row takes `seconds`, or more where seven rounds take longer. A row whose arrays do not fit
    into free memory is skipped with a message. On an interrupt, the rows measured so far are
    printed and written before KeyboardInterrupt is raised.

    Raises ImportError if a package of the ``bench`` extra is missing, ValueError if a size is too
    large for the machine or nothing could be measured.
    """
    wanted = ["tqdm"] + ["matplotlib"] * (picture is not None)
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise ImportError(f"fastoptim bench needs {', '.join(wanted)} (missing: "
                          f"{', '.join(missing)}): pip install 'fastoptim[bench]'")
    from . import contenders, machine, report

    memory = machine.total_memory()
    for n in sizes:
        needed = min(contenders.bytes_needed(rule, n, dtype) for rule in rules)
        if needed > memory:
            raise ValueError(f"sizes must fit into memory, which is {memory / 1e9:.3g} GB, got "
                             f"{n:.4g}, which takes {needed / 1e9:.3g} GB")
    if threads is not None:
        fo.set_num_threads(threads)
    described = machine.describe()
    print(machine.header(described))
    print(_EXPLANATION)

    rows: list[report.Row] = []
    try:
        _measure(rows, sizes, rules, dtype, seconds)
    finally:  # also on an interrupt
        if rows and json is not None:
            report.write_json(json, described, rows)
            print(f"wrote {json}")
        if rows and picture is not None:
            report.draw(picture, described, rows, report.TITLE)
            print(f"wrote {picture}")
    if not rows:
        raise ValueError("sizes must fit into the memory that is free, and none did")


def _measure(rows: list[Row], sizes: Sequence[int], rules: Sequence[str], dtype: str,
             seconds: float) -> None:
    """Append a row for each rule and size, and print each rule's table, also on an interrupt."""
    from tqdm import tqdm

    from . import contenders, machine, report
    from .timing import take_turns

    todo = [(rule, n) for rule in rules for n in sizes]
    with tqdm(total=len(todo), leave=False, disable=None,  # None: a bar on terminals only
              bar_format="{desc:16}{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left") as bar:
        for rule in rules:
            first = len(rows)
            try:
                for n in sizes:
                    bar.set_description_str(f"{rule} {report.size_text(n)}")
                    if contenders.bytes_needed(rule, n, dtype) > 0.9 * machine.available_memory():
                        tqdm.write(f"{rule} {report.size_text(n)}: left out, needs more memory "
                                   "than is free")
                        bar.update()
                        continue
                    contenders.check(rule, min(n, 100_003), dtype)
                    works = contenders.make(rule, n, dtype)
                    rows.append(report.Row(rule, dtype, n,
                                           take_turns(works, seconds=seconds, tick=bar.update)))
            finally:
                if own := rows[first:]:
                    moved = contenders.bytes_moved(rule, dtype)
                    tqdm.write(f"\n{rule}, {dtype}: a step reads and writes {moved} bytes an "
                               "element")
                    tqdm.write(report.table(own))
