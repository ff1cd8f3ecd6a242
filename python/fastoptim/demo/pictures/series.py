"""Exponentially weighted moving averages of a real series: Seattle's temperatures."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter, MonthLocator
from matplotlib.figure import Figure
from vega_datasets import local_data

import fastoptim as fo
from fastoptim import plotting

BETAS = {0.5: plotting.SKY, 0.9: plotting.BLUE, 0.98: plotting.VERMILION}


def temperatures() -> tuple[np.ndarray, np.ndarray]:
    """The days of 2012 to 2015 and their highest temperatures in Seattle, in Celsius."""
    weather = local_data.seattle_weather()
    return weather["date"].to_numpy(), weather["temp_max"].to_numpy(dtype=np.float64)


def moving_averages() -> Figure:
    """Two years of temperatures and their averages at three betas."""
    day, celsius = (column[:731] for column in temperatures())
    fig = plotting.figure(height=4.6, title="A noisy series and its moving averages")
    axes = fig.subplots()
    _plot_days(axes, day, celsius, months=(1, 4, 7, 10))
    for beta, colour in BETAS.items():
        label = rf"$\beta$ = {beta}: about {1 / (1 - beta):.0f} days"
        width = 1 if beta == 0.5 else 2.2
        axes.plot(day, fo.ewma(celsius, beta), color=colour, lw=width, label=label)
    axes.set_title(
        r"$v_t = \beta\, v_{t-1} + (1 - \beta)\, x_t$,   "
        r"drawn with bias correction:   $v_t\, /\, (1 - \beta^t)$"
    )
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def bias_correction() -> Figure:
    """The first months of the series, averaged with and without bias correction."""
    day, celsius = (column[:112] for column in temperatures())
    title = "An average that starts from zero needs bias correction"
    fig = plotting.figure(height=4.4, title=title)
    panels = fig.subplots(1, 2, sharey=True)
    for panel, beta in zip(panels, (0.9, 0.98), strict=True):
        _plot_days(panel, day, celsius, months=range(1, 13))
        for corrected, line, label in (
            (False, "--", "without correction: $v_t$"),
            (True, "-", r"with correction: $v_t\, /\, (1 - \beta^t)$"),
        ):
            average = fo.ewma(celsius, beta, bias_correction=corrected)
            panel.plot(day, average, line, color=BETAS[beta], label=label)
        panel.set_title(rf"$\beta$ = {beta}: about {1 / (1 - beta):.0f} days")
        panel.legend(loc="upper left")
    panels[1].set_ylabel("")
    return fig


def _plot_days(axes: Axes, day: np.ndarray, celsius: np.ndarray, *, months: Iterable[int]) -> None:
    axes.plot(day, celsius, ".", color=plotting.GREY, ms=4, mew=0, label="highest of the day")
    axes.set(ylabel="temperature in Seattle (\N{DEGREE SIGN}C)", xlabel="day")
    axes.margins(x=0.015)
    locator = MonthLocator(bymonth=tuple(months))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
