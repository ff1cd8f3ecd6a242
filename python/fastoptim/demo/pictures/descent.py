"""The effect of the batch size and of the update rule on the path of descent."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import fastoptim as fo
from fastoptim import plotting
from fastoptim.demo.train import Result


def batch_sizes(results: list[Result]) -> Figure:
    """Cost against step, epoch and time of batch, stochastic and mini-batch descent."""
    fig = plotting.figure(height=4.5, title="How many samples should a step look at?")
    steps, epochs, times = fig.subplots(1, 3, sharey=True, width_ratios=(1.25, 1, 1))
    # Noisier costs need longer averages; the exact cost of batch descent needs none.
    looks = zip(
        results,
        (plotting.BATCH, plotting.STOCHASTIC, plotting.MINI_BATCH),
        (0.0, 0.99, 0.9),
        strict=True,
    )
    # The noisiest is drawn first, below the others.
    for result, colour, beta in sorted(looks, key=lambda look: look[0].batch_size):
        costs = np.array(result.batch_costs)
        shown = _log_spaced(len(costs))
        steps.plot(shown + 1, costs[shown], color=colour, alpha=0.35, lw=0.6)
        steps.plot(shown + 1, fo.ewma(costs, beta)[shown], color=colour)
        name, per_step = result.name.split()[0], result.batch_size
        label = f"{name}: {per_step} {'sample' if per_step == 1 else 'samples'} a step"
        epochs.plot(result.epoch_costs, color=colour, label=label)
        times.plot(result.epoch_seconds[1:], result.epoch_costs[1:], color=colour,
                   gid=plotting.TIMED)
    steps.set(
        xscale="log",
        yscale="log",
        ylim=(1.5e-2, 8),
        title="What a step sees: the cost of\nits own batch (thick: averaged)",
        xlabel="step (one update of the weights)",
        ylabel="cost J (nats)",
    )
    epochs.set(
        title="What is achieved: the cost\nof the whole training set",
        xlabel="epoch (one pass over it)",
    )
    times.set(
        xscale="log",
        title="The same against time,\nafter each epoch",
        xlabel="seconds of gradients and steps",
    )
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def _log_spaced(n: int) -> np.ndarray:
    """Indices below n, evenly spaced on a logarithmic axis: 300 in each power of 10."""
    some = np.unique(np.geomspace(1, 10**7, 2100).astype(int)) - 1
    return some[some < n]


CURVATURE = np.array([1.0, 25.0])
START = np.array([-9.0, 2.2])
LOW = 0.01
RULES: tuple[tuple[str, str, Callable[..., fo.Optimizer], dict[str, Any]], ...] = (
    ("Gradient descent", plotting.BATCH, fo.SGD, {"lr": 0.072}),
    ("Momentum", plotting.MOMENTUM, fo.Momentum, {"lr": 0.18, "beta": 0.75}),
    ("RMSProp", plotting.RMSPROP, fo.RMSProp, {"lr": 0.4, "beta": 0.95}),
    ("Adam", plotting.ADAM, fo.Adam, {"lr": 0.6, "betas": (0.7, 0.95)}),
)


def bowl() -> Figure:
    """The paths of four rules from one point to the minimum of an elongated bowl."""
    title = r"Four ways down an elongated bowl, $J = (x^2 + 25\, y^2)\, /\, 2$"
    fig = plotting.figure(height=5.6, title=title)
    panels = fig.subplots(2, 2, sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-10, 3, 200), np.linspace(-2.8, 2.8, 100))
    height = (CURVATURE[0] * x**2 + CURVATURE[1] * y**2) / 2
    for panel, (name, colour, rule, options) in zip(panels.flat, RULES, strict=True):
        path = descend(rule, options)
        panel.contour(x, y, height, np.geomspace(0.3, 110, 9), colors="#C8C8C8", linewidths=0.7)
        panel.plot(*path.T, "-o", color=colour, lw=1.3, ms=3.2)
        panel.plot(*START, "o", color=colour, ms=7)
        panel.plot(0, 0, "+", color=plotting.BLACK, ms=11, mew=1.6)
        named = ", ".join(f"{option} = {value}" for option, value in options.items())
        panel.set_title(f"{name} ({named}): {len(path) - 1} steps to J < {LOW}", fontsize=10)
        panel.grid(False)
    panels[0, 0].annotate("start", START, (8, 3), textcoords="offset points")
    panels[0, 0].annotate("minimum", (0, 0), (0, 12), textcoords="offset points", ha="center")
    for panel in panels[1]:
        panel.set_xlabel("x")
    for panel in panels[:, 0]:
        panel.set_ylabel("y")
    return fig


def descend(rule: Callable[..., fo.Optimizer], options: dict[str, Any]) -> np.ndarray:
    """The points (steps + 1, 2) that an optimizer visits until J is low, at most 200 steps."""
    point = START.copy()
    optimizer = rule(point, **options)
    path = [point.copy()]
    while CURVATURE @ point**2 / 2 >= LOW and optimizer.t < 200:
        optimizer.step(CURVATURE * point)
        path.append(point.copy())
    return np.array(path)
