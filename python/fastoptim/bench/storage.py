"""``fastoptim bench --storage``: Adam in fewer bytes beside the roofline of float32."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fastoptim as fo
from fastoptim import plotting

from . import contenders, machine
from .report import Row, figure_text, size_text, write_json
from .timing import Interrupted, Timings, repeated, take_turns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastoptim.types import StateDtype

ROOFLINE = "float32 roofline"
# name -> parameters, gradients, state_dtype
COMBINATIONS: dict[str, tuple[str, str, StateDtype | None]] = {
    "float32": ("float32", "float32", None),
    "float32, bfloat16 state": ("float32", "float32", "bfloat16"),
    "float32, q8 state": ("float32", "float32", "q8"),
    "bfloat16": ("bfloat16", "bfloat16", "bfloat16"),
    "bfloat16, q8 state": ("bfloat16", "bfloat16", "q8"),
    "float16, bfloat16 state": ("float16", "float16", "bfloat16"),
}
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "q8": 1 + 1 / 128}


def bytes_moved(name: str) -> float:
    """Bytes that Adam reads and writes for each element."""
    p, g, state = COMBINATIONS[name]
    return 2 * _BYTES[p] + _BYTES[g] + 4 * _BYTES[state or "float32"]


def bytes_needed(n: int) -> float:
    """Bytes of all contenders together, including the four arrays of the roofline."""
    one_of_each = (_BYTES[p] + _BYTES[g] + 2 * _BYTES[state or "float32"]
                   for p, g, state in COMBINATIONS.values())
    return n * (16 + sum(one_of_each))


def make_step(name: str, n: int) -> Callable[[], None]:
    """A step of Adam on arrays of its own, with the values that every contender has."""
    import ml_dtypes

    p, g, state = COMBINATIONS[name]
    arrays = []
    for dtype, scale in ((p, 1.0), (g, 0.1)):
        values = scale * np.random.default_rng(0).standard_normal(65_536)
        numpy_dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        arrays.append(np.resize(values.astype(numpy_dtype), n))
    return fo.Adam(*arrays, state_dtype=state).step


def run(*, n: int = 10**8, threads: int | None = None, seconds: float = 5.0,
        json: Path | None = None, picture: Path | None = None) -> None:
    """Measure every combination in turn, print the table, and write the files named.

    On an interrupt, the complete rounds are reported before KeyboardInterrupt is raised.
    """
    wanted = ["ml_dtypes"] + ["matplotlib"] * (picture is not None)
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise ImportError(f"fastoptim bench --storage needs {', '.join(missing)}: "
                          f"pip install {' '.join(missing)}")
    if bytes_needed(n) > 0.9 * machine.available_memory():
        raise ValueError(f"{n:.4g} elements need {bytes_needed(n) / 1e9:.4g} GB of memory, "
                         f"got {machine.available_memory() / 1e9:.1f} GB free: name a smaller "
                         "size with --sizes")
    if threads is not None:
        fo.set_num_threads(threads)
    described = machine.describe()
    print(machine.header(described))
    works = {ROOFLINE: contenders.roofline(n, "float32", 2)}
    works |= {name: repeated(make_step(name, n)) for name in COMBINATIONS}
    interrupt: Interrupted | None = None
    timings: Timings | None
    try:
        timings = take_turns(works, seconds=seconds)
    except Interrupted as error:
        interrupt, timings = error, error.timings
    if timings is not None:
        row = Row("adam", "storage", n, timings)
        print(table(row))
        if json is not None:
            write_json(json, described, [row])
            print(f"wrote {json}")
        if picture is not None:
            draw(picture, described, row)
            print(f"wrote {picture}")
    if interrupt is not None:
        raise interrupt


def speed(row: Row, name: str) -> float:
    """The time of the roofline of float32 / ours."""
    return row.timings.ratio(ROOFLINE, to=name)


def table(row: Row) -> str:
    """A line for each combination, within 80 columns."""
    lines = [f"\nA step of Adam, {size_text(row.n)} elements, states rounded at random\n",
             f"{'':26}bytes moved    ns an element    times as fast as the",
             f"{'':26}an element{'':24}roofline of float32"]
    for name in row.timings.rounds:
        moved = 28 if name == ROOFLINE else bytes_moved(name)
        lines.append(f"{name:26}{moved:10.1f}{figure_text(row.ns(name)):>17}"
                     f"{speed(row, name):>24.2f}")
    return "\n".join(lines)


def draw(path: Path, described: dict[str, Any], row: Row) -> None:
    """A bar for each combination: time an element; a PNG."""
    plotting.save(lambda: _figure(described, row), path)


def _figure(described: dict[str, Any], row: Row) -> Figure:
    names = [name for name in COMBINATIONS if name in row.timings.rounds]
    fig = plotting.figure(width=8.4, height=3.6,
                          title=f"A step of Adam on {size_text(row.n)} elements")
    panel = fig.subplots()
    panel.barh(names, [row.ns(name) for name in names], color=plotting.OURS, height=0.6)
    panel.axvline(row.ns(ROOFLINE), color=plotting.BLACK, linestyle="--",
                  label="roofline of float32")
    for name in names:
        panel.annotate(f"  {bytes_moved(name):.0f} bytes", (0, name), va="center", fontsize=8,
                       color="white")
    panel.invert_yaxis()
    panel.set_xlabel("ns an element")
    panel.margins(x=0.12)
    plotting.bars_only(panel, axis="x")
    fig.legend(loc="outside upper right", fontsize=8)
    plotting.footnote(fig, machine.footnote(described))
    return fig
