"""One look for every picture: sizes, fonts, and a colour for each method."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN = "#222222", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#9A9A9A"

BATCH, STOCHASTIC, MINI_BATCH = BLACK, ORANGE, BLUE
MOMENTUM, RMSPROP, ADAM = GREEN, PURPLE, VERMILION

WIDTH = 9.6  # inches; at DPI dots each, twice the width of a column of text
DPI = 140

_STYLE = {
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


def figure(*, height: float, title: str) -> Figure:
    """An empty figure `height` inches high.

    A bare Figure, not pyplot's: it needs no display and leaves no global state.
    """
    fig = Figure(figsize=(WIDTH, height), dpi=DPI)
    fig.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return fig


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure in this style and write it as a PNG."""
    with matplotlib.rc_context(_STYLE):
        # No metadata: the same figure gives the same bytes.
        draw().savefig(path, metadata={"Software": None}, pil_kwargs={"optimize": True})
