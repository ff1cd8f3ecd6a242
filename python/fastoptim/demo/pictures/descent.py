"""How batch size and rule shape the way down."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import fastoptim as fo

from ..train import Result
from . import style


def batch_sizes(results: list[Result]) -> Figure:
    """Cost against step, and against epoch, of batch, stochastic and mini-batch descent."""
    fig = style.figure(height=4.3, title="How many samples should a step look at?")
    steps, epochs = fig.subplots(1, 2, width_ratios=(1.25, 1))
    looks = {
        result.name: (result, colour)
        for result, colour in zip(results, (style.BATCH, style.STOCHASTIC, style.MINI_BATCH))
    }
    # The noisiest first, so that it lies below the others.
    for result, colour in sorted(looks.values(), key=lambda look: look[0].batch_size):
        costs = np.array(result.batch_costs)
        at = np.arange(1, len(costs) + 1)
        shown = _log_spaced(len(costs), 1500)
        if result.batch_size < 1000:
            steps.plot(at[shown], costs[shown], color=colour, alpha=0.3, lw=0.5)
            smooth = fo.ewma(costs, 0.99 if result.batch_size == 1 else 0.9)
        else:
            smooth = costs
        steps.plot(at[shown], smooth[shown], color=colour)
        epochs.plot(result.epoch_costs, color=colour, label=_label(result))
    steps.set(
        xscale="log", yscale="log", ylim=(1e-2, 8),
        title="What each step sees: the cost of its own batch",
        xlabel="step (one update of the weights)", ylabel="cost J (nats)",
    )
    epochs.set(
        yscale="log", ylim=(1e-2, 8),
        title="The cost of the whole training set",
        xlabel="epoch (one pass over the data)", ylabel="cost J (nats)",
    )
    epochs.legend(loc="upper right")
    return fig


def _label(result: Result) -> str:
    per_step = "1 sample" if result.batch_size == 1 else f"{result.batch_size} samples"
    return f"{result.name.split()[0]}: {per_step} a step"


def _log_spaced(n: int, count: int) -> np.ndarray:
    """At most `count` indices below n, evenly spaced on a logarithmic axis."""
    return np.unique(np.geomspace(1, n, count).astype(int)) - 1


CURVATURE = np.array([1.0, 25.0])
START = np.array([-9.0, 2.2])
BOWL_STEPS = 60


def bowl() -> Figure:
    """The paths of four rules from one point to the minimum of an elongated bowl."""
    rules = (
        ("Gradient descent", style.BATCH, lambda p: fo.SGD(p, lr=0.072)),
        ("Momentum", style.MOMENTUM, lambda p: fo.Momentum(p, lr=0.25, beta=0.8)),
        ("RMSProp", style.RMSPROP, lambda p: fo.RMSProp(p, lr=0.25, beta=0.9)),
        ("Adam", style.ADAM, lambda p: fo.Adam(p, lr=0.5, betas=(0.8, 0.99))),
    )
    fig = style.figure(
        height=5.6, title=f"Down an elongated bowl, J = (x\u00b2 + 25 y\u00b2) / 2"
    )
    panels = fig.subplots(2, 2, sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-10, 3, 300), np.linspace(-2.8, 2.8, 200))
    height = (CURVATURE[0] * x**2 + CURVATURE[1] * y**2) / 2
    for panel, (name, colour, rule) in zip(panels.flat, rules):
        path = descend(rule)
        costs = (CURVATURE * path**2).sum(axis=1) / 2
        panel.contour(x, y, height, levels=np.geomspace(0.3, 110, 9), colors="#C4C4C4",
                      linewidths=0.7)
        panel.plot(*path.T, "-o", color=colour, lw=1.3, ms=3.2)
        panel.plot(*START, "o", color=colour, ms=7)
        panel.plot(0, 0, "+", color=style.BLACK, ms=11, mew=1.6)
        panel.set_title(f"{name}: J = {costs[-1]:.1g} after {BOWL_STEPS} steps")
        panel.grid(False)
    for panel in panels[1]:
        panel.set_xlabel("x")
    for panel in panels[:, 0]:
        panel.set_ylabel("y")
    return fig


def descend(rule) -> np.ndarray:
    """The points (steps + 1, 2) that an optimizer visits on its way down the bowl."""
    point = START.copy()
    optimizer = rule(point)
    path = [point.copy()]
    for _ in range(BOWL_STEPS):
        optimizer.step(CURVATURE * point)
        path.append(point.copy())
    return np.array(path)
