"""Exponentially weighted moving averages of a real series: Seattle's weather."""

from __future__ import annotations

import numpy as np
from matplotlib.dates import ConciseDateFormatter, MonthLocator
from matplotlib.figure import Figure
from vega_datasets import local_data

import fastoptim as fo

from . import style

BETAS = {0.5: style.SKY, 0.9: style.BLUE, 0.98: style.VERMILION}


def temperatures() -> tuple[np.ndarray, np.ndarray]:
    """Days, and their highest temperatures in Seattle in degrees Celsius, 2012 to 2015."""
    weather = local_data.seattle_weather()
    return weather["date"].to_numpy(), weather["temp_max"].to_numpy(dtype=np.float64)


def moving_averages() -> Figure:
    """Two years of temperatures and their averages at three betas."""
    day, celsius = (column[:731] for column in temperatures())
    fig = style.figure(
        height=4.6, title="A noisy series and its exponentially weighted averages"
    )
    axes = fig.subplots()
    _plot_days(axes, day, celsius)
    for beta, colour in BETAS.items():
        axes.plot(day, fo.ewma(celsius, beta), color=colour, lw=1.0 if beta == 0.5 else 2,
                  label=f"\u03b2 = {beta}: about the last {round(1 / (1 - beta))} days")
    axes.set(title="v(t) = \u03b2 v(t\u22121) + (1 \u2212 \u03b2) x(t), divided by 1 \u2212 \u03b2\u1d57")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def bias_correction() -> Figure:
    """The first weeks of the series, averaged with and without bias correction."""
    day, celsius = (column[:120] for column in temperatures())
    fig = style.figure(height=4.3, title="Bias correction: an average that starts from zero")
    panels = fig.subplots(1, 2, sharey=True)
    for panel, beta in zip(panels, (0.9, 0.98)):
        _plot_days(panel, day, celsius)
        panel.plot(day, fo.ewma(celsius, beta, bias_correction=False), "--",
                   color=BETAS[beta], label="without correction")
        panel.plot(day, fo.ewma(celsius, beta), color=BETAS[beta], label="with correction")
        panel.set(title=f"\u03b2 = {beta}", ylim=(0, None))
        panel.legend(loc="upper left")
    return fig


def _plot_days(axes, day: np.ndarray, celsius: np.ndarray) -> None:
    axes.plot(day, celsius, ".", color=style.GREY, ms=4, alpha=0.7, mew=0,
              label="highest of the day")
    axes.set_ylabel("temperature in Seattle (\u00b0C)")
    locator = MonthLocator(interval=1 if len(day) < 200 else 3)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
