"""The style of every picture of the demo and the benchmarks: sizes, fonts, palette, PNG files.

Imports matplotlib only when something is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN = "#222222", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#9A9A9A"

BATCH, STOCHASTIC, MINI_BATCH = BLACK, ORANGE, BLUE
MOMENTUM, RMSPROP, ADAM = GREEN, PURPLE, VERMILION
OURS = VERMILION  # fastoptim among the contenders of a benchmark; the others get OTHERS in turn
OTHERS = (BLUE, GREEN, PURPLE, ORANGE, SKY, GREY, "#6A3D9A")

WIDTH = 9.6  # inches; at DPI dots each, twice the width of a column of text
DPI = 140

TIMED = "timed"  # the gid of a line whose x values are times, which differ from run to run

_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
}


def figure(*, height: float, title: str, width: float = WIDTH) -> Figure:
    """Return an empty figure of this size in inches.

    It is a bare Figure, not one of pyplot's: it needs no display and leaves no global state.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), dpi=DPI)
    fig.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return fig


def footnote(fig: Figure, text: str) -> None:
    """Write small grey text below a figure, as the machine that it was measured on."""
    fig.supxlabel(text, fontsize=8, color="#666666")


def bars_only(panel: Axes, *, axis: Literal["x", "y"]) -> None:
    """Keep the grid lines of the axis that bars are measured along, and no others."""
    panel.grid(False)
    panel.grid(axis=axis)


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Call `draw` in this style and write its figure as a PNG that holds its `facts` as text."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        fig = draw()
        # No other metadata: the same figure gives the same bytes.
        fig.savefig(path, metadata={"Software": None, FACTS: json.dumps(facts(fig))},
                    pil_kwargs={"optimize": True})


FACTS = "fastoptim"  # the keyword of a PNG's text


def facts(fig: Figure) -> dict[str, Any]:
    """Return what a figure shows: its texts, and points 0, 1, 2, 4, 8, ... of every line.

    A test compares them with those of the committed picture, to find out whether the code still
    draws it. The points of a longer training begin with those of a shorter one.
    """
    texts: list[str] = [fig.get_suptitle()]
    lines: list[list[list[float]]] = []
    for axes in fig.axes:
        texts += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        texts += [text.get_text() for text in axes.texts]
        for line in axes.lines:
            label = str(line.get_label())
            texts.append(label if not label.startswith("_") else "")
            points = np.asarray(line.get_xydata())
            points = points[:, 1:] if line.get_gid() == TIMED else points
            shown = [0] + [1 << k for k in range((len(points) - 1).bit_length())]
            lines.append([[float(f"{value:.5g}") for value in points[i]]
                          for i in shown if i < len(points)])
    return {"texts": texts, "lines": lines}
