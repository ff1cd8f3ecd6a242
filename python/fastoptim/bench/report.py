"""Measured rows as a table for a terminal, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastoptim import plotting

from .machine import footnote
from .timing import Timings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "One optimizer step in memory"
_COLOURS = {"fastoptim": plotting.OURS, "in place": plotting.BLUE, "one-liner": plotting.SKY}
_LABELS = {"in place": "NumPy in place", "one-liner": "NumPy one-liner"}


@dataclass(frozen=True)
class Row:
    """One rule at one size."""

    rule: str
    dtype: str
    n: int
    timings: Timings

    def ns(self, name: str) -> float:
        """Nanoseconds an element."""
        return self.timings[name] / self.n

    def as_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, "dtype": self.dtype, "n": self.n,
                "ns_per_element": self.timings.as_dict(per=self.n)}


def size_text(n: int) -> str:
    """1000 as 10^3, 2500 as 2500."""
    power = len(str(n)) - 1
    return f"10^{power}" if n == 10**power and power > 1 else str(n)


def figure_text(x: float) -> str:
    """About three significant digits, without an exponent."""
    return f"{x:.3f}" if x < 10 else f"{x:.1f}" if x < 1000 else f"{x:.0f}"


def table(rows: Sequence[Row]) -> str:
    """Times and ratios of one rule, within 80 columns."""
    lines = [
        "                 ns an element                        ratios of the times",
        "       n roofline fastoptim in place one-liner    ours/ in place/ one-liner/",
        "                                               roofline      ours       ours",
    ]
    for row in rows:
        t = row.timings
        cells = [f"{size_text(row.n):>8}"]
        cells += [f"{figure_text(row.ns(name)):>{width}}" for name, width in
                  (("roofline", 9), ("fastoptim", 10), ("in place", 9), ("one-liner", 10))]
        cells += [f"{t.ratio('fastoptim', to='roofline'):>9.2f}",
                  f"{t.ratio('in place', to='fastoptim'):>10.1f}",
                  f"{t.ratio('one-liner', to='fastoptim'):>11.1f}"]
        lines.append("".join(cells))
    return "\n".join(lines)


def write_json(path: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the machine and every row."""
    content = {"machine": machine, "rows": [row.as_dict() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Read what write_json wrote; each row has one round, of its medians."""
    content = json.loads(path.read_text())
    rows = []
    for row in content["rows"]:
        medians = {name: [ns["median"] * row["n"]] for name, ns in row["ns_per_element"].items()}
        rows.append(Row(row["rule"], row["dtype"], row["n"], Timings(medians)))
    return content["machine"], rows


def draw(path: Path, machine: dict[str, Any], rows: Sequence[Row], title: str) -> None:
    """Nanoseconds an element against elements, log-log, a panel for each rule; a PNG."""
    plotting.save(lambda: _figure(machine, rows, title), path)


def _figure(machine: dict[str, Any], rows: Sequence[Row], title: str) -> Figure:
    rules = list(dict.fromkeys(row.rule for row in rows))
    columns = min(len(rules), 2)
    lines = -(-len(rules) // columns)
    fig = plotting.figure(height=1.3 + 3.3 * lines, title=title)
    panels = fig.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for panel, rule in zip(panels.flat, rules):
        own = [row for row in rows if row.rule == rule]
        names = list(dict.fromkeys(name for row in own for name in row.timings.rounds))
        others = iter(plotting.OTHERS)
        for name in names:
            drawn = [row for row in own if name in row.timings.rounds]
            xs, ys = [row.n for row in drawn], [row.ns(name) for row in drawn]
            if name == "roofline":
                panel.loglog(xs, ys, "--", color=plotting.BLACK, label="roofline: plain loop",
                             linewidth=1.4, zorder=5)
            else:
                colour = _COLOURS.get(name) or next(others)
                panel.loglog(xs, ys, "o-", markersize=3.5, color=colour,
                             label=_LABELS.get(name, name),
                             linewidth=2.4 if name == "fastoptim" else 1.4)
        panel.set_title(f"{rule}, {own[0].dtype}")
    for panel in panels[-1]:
        panel.set_xlabel("elements")
    for line in panels:
        line[0].set_ylabel("ns an element")
    for panel in panels.flat[len(rules):]:
        panel.set_visible(False)
    panels.flat[0].legend(fontsize=8)
    plotting.footnote(fig, footnote(machine))
    return fig
