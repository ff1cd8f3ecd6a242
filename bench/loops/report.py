"""Runs of ``bench/loop.py`` as tables for a terminal, as lines about the bars, and as a picture.

A run is what a process printed (``loops/process.py``), with "way": the threading that its step
used by name, or another setting of its environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from . import OURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ASLEEP = 10  # OPENBLAS_THREAD_TIMEOUT with which the threads of BLAS sleep at once: 2^10 cycles
FUSED = "torch fused"


def timeout_way(timeout: int) -> str:
    return f"BLAS timeout {timeout}"


def cases(runs: Sequence[dict]) -> dict[tuple[str, int], dict[str, list[dict]]]:
    """{(loop, parameters): {way: the runs of its processes}}, in the order of the runs."""
    found: dict[tuple[str, int], dict[str, list[dict]]] = {}
    for run in runs:
        found.setdefault((run["loop"], run["n"]), {}).setdefault(run["way"], []).append(run)
    return found


def _title(run: dict) -> str:
    return (f"{run['title']}: {run['n']:,} parameters in {run['tensors']} "
            f"tensor{'s' * (run['tensors'] != 1)}")


def _figure_text(x: float) -> str:
    return f"{x:.3f}" if x < 100 else f"{x:.1f}"


def rows(ways: dict[str, list[dict]]) -> dict[str, tuple[list[dict], str]]:
    """The rows of a table: name -> (the runs, the contender in them); torch's step once."""
    found = {way: (runs, OURS) for way, runs in ways.items()}
    first = next(iter(ways.values()))
    for name in first[0]["ms"]:
        if name != OURS:
            found[name] = (first, name)
    return found


def pauses_table(ways: dict[str, list[dict]]) -> str:
    """Steps without anything between them: a column for each pause."""
    pauses = [key for key in next(iter(ways.values()))[0]["ms"][OURS] if key != "gradients"]
    lines = ["ms a step after" + "".join(f"{pause + ' ms':>16}" for pause in pauses)[1:],
             " " * 16 + f"{'median':>8}{'worst':>8}" * len(pauses)]
    for way, runs in ways.items():
        line = f"  {way:<14}"[:16]
        for pause in pauses:
            times = [run["ms"][OURS][pause] for run in runs]
            line += f"{_figure_text(median(times)):>8}{_figure_text(max(times)):>8}"
        lines.append(line)
    return "\n".join(lines)


def loop_table(ways: dict[str, list[dict]]) -> str:
    """A row for each way: the step in the loop and after a pause, and the gradients' time."""
    lines = [f"{'':18}{'ms a step in the loop':>24}{'20 ms later':>13}{'ratio':>7}"
             f"{'ms of gradients':>18}",
             f"{'':18}{'median':>8}{'best':>8}{'worst':>8}{'median':>13}{'worst':>7}"
             f"{'with':>9}{'/without':>9}"]
    for name, (runs, contender) in rows(ways).items():
        found = [run["ms"][contender] for run in runs]
        now, later = ([ms[pause] for ms in found] for pause in ("0", "20"))
        gradients = [ms["gradients"] for ms in found]
        lines.append(
            f"  {name:<16}"[:18] + "".join(f"{_figure_text(f(now)):>8}" for f in (median, min, max))
            + f"{_figure_text(median(later)):>13}"
            + f"{max(a / b for a, b in zip(now, later)):>7.2f}"
            + f"{_figure_text(median(gradients)):>9}"
            + (f"{median(run['gradients_ratio'] for run in runs):>9.3f}"
               if contender == OURS else ""))
    return "\n".join(lines)


def tables(runs: Sequence[dict]) -> str:
    lines: list[str] = []
    for (loop, _), ways in cases(runs).items():
        first = next(iter(ways.values()))
        lines += ["", _title(first[0])]
        lines.append(pauses_table(ways) if loop == "nothing" else loop_table(ways))
    return "\n".join(lines)


class Bar(NamedTuple):
    """A ratio that has to hold in every process, of the default way."""

    what: str
    low: float
    high: float
    figures: list[float]  # one for each process

    def line(self) -> str:
        worst = max(self.figures, key=lambda x: max(self.low - x, x - self.high))
        bound = (f"at least {self.low:g}" if self.high == float("inf") else
                 f"at most {self.high:g}" if self.low == 0 else f"{self.low:g} to {self.high:g}")
        verdict = "holds" if self.low <= worst <= self.high else "missed"
        return (f"  {self.what:<43}{bound:<13}{median(self.figures):>7.3f}{worst:>7.3f}"
                f"  {verdict}")


def bars(runs: Sequence[dict]) -> list[Bar]:
    """What has to hold of the steps' first way, the default."""
    found = []
    for (loop, n), ways in cases(runs).items():
        default, *_ = ways.values()
        name = f"{loop} {n:.2g}: ".replace("e+0", "e")
        ours = [run["ms"][OURS] for run in default]
        if loop == "nothing":
            for pause in ("0", "0.5", "5"):
                best = min(ms[pause] for ms in ours)
                found.append(Bar(f"{name}after {pause} ms / best process", 0, 1.25,
                                 [ms[pause] / best for ms in ours]))
            continue
        if asleep := ways.get(timeout_way(ASLEEP)):
            other = median(run["ms"][OURS]["0"] for run in asleep)
            found.append(Bar(f"{name}step / with BLAS asleep", 0, 1.1,
                             [ms["0"] / other for ms in ours]))
        if FUSED in default[0]["ms"]:
            found.append(Bar(f"{name}step / step 20 ms later", 0, 1.1,
                             [ms["0"] / ms["20"] for ms in ours]))
            found.append(Bar(f"{name}torch fused / step", 1.3, float("inf"),
                             [run["ms"][FUSED]["0"] / run["ms"][OURS]["0"] for run in default]))
        found.append(Bar(f"{name}gradients with/without", 0.98, 1.02,
                         [run["gradients_ratio"] for run in default]))
    return found


def bars_text(runs: Sequence[dict]) -> str:
    way = runs[0]["way"]
    head = f"What should hold in each process ({way})"
    return "\n".join(["", f"{head:<58}{'median':>7}{'worst':>7}"]
                     + [bar.line() for bar in bars(runs)])


def draw(path: Path, machine: dict, runs: Sequence[dict]) -> None:
    """A panel for each loop: a dot for each process, in the loop and after a pause; a PNG."""
    from fastoptim import plotting

    plotting.save(lambda: _figure(machine, runs), path)


def _figure(machine: dict, runs: Sequence[dict]) -> Figure:
    from fastoptim import plotting
    from fastoptim.bench.machine import footnote

    found = cases(runs)
    lines = -(-len(found) // 2)
    processes = max(len(x) for ways in found.values() for x in ways.values())
    fig = plotting.figure(height=1.2 + 2.3 * lines,
                          title=f"A step of Adam in a loop, {processes} processes each")
    panels = fig.subplots(lines, min(len(found), 2), squeeze=False)
    for panel, ways in zip(panels.flat, found.values()):
        shown = rows(ways)
        for k, (found_in, contender) in enumerate(shown.values()):
            colour = plotting.OURS if contender == OURS else plotting.BLUE
            for pause, marker, face, label in (("20", "o", "none", "20 ms later"),
                                               ("0", "o", colour, "in the loop")):
                times = [run["ms"][contender][pause] for run in found_in]
                # The two kinds a little apart, or they would hide each other.
                panel.plot(times, [k + (0.13 if pause == "20" else -0.13)] * len(times), marker,
                           markersize=4.5, color=colour, markerfacecolor=face, alpha=0.8,
                           label=label if k == 0 else None)
        first = next(iter(ways.values()))[0]
        title = ", ".join(first["title"].split(", ")[:2])  # without the batch
        panel.set_title(f"{title}: {first['n']:,} parameters", fontsize=9)
        panel.set_yticks(range(len(shown)), list(shown))
        panel.set_ylim(len(shown) - 0.5, -0.5)
        panel.set_xlim(left=0)
        panel.set_xlabel("ms a step")
        plotting.bars_only(panel, axis="x")
    for panel in panels.flat[len(found):]:
        panel.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8)
    plotting.footnote(fig, footnote(machine))
    return fig
