"""Learning rates over time, and what a decaying one is good for."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import fastoptim as fo

from . import style
from .series import temperatures


def schedules() -> Figure:
    """Six schedules, each drawn over the other five."""
    make = fo.schedules
    curves = {
        "constant: \u03b1\u2080": make.constant(1e-2),
        "inverse_time: \u03b1\u2080 / (1 + 0.1 e)": make.inverse_time(1e-2, decay_rate=0.1),
        "exponential: \u03b1\u2080 0.95^e": make.exponential(1e-2, base=0.95),
        "inverse_sqrt: \u03b1\u2080 / \u221ae": make.inverse_sqrt(1e-2),
        "staircase: half every 15 epochs": make.staircase(1e-2, factor=0.5, every=15),
        "piecewise: by hand": make.piecewise({0: 1e-2, 20: 3e-3, 45: 1e-3}),
    }
    epochs = np.arange(60)
    rates = {name: [curve(int(e)) for e in epochs] for name, curve in curves.items()}
    fig = style.figure(height=4.8, title="Learning-rate schedules, \u03b1\u2080 = 0.01")
    panels = fig.subplots(2, 3, sharex=True, sharey=True)
    for panel, name in zip(panels.flat, rates):
        for other in rates.values():
            panel.step(epochs, other, where="post", color="#D8D8D8", lw=1)
        panel.step(epochs, rates[name], where="post", color=style.BLUE, lw=2.4)
        panel.set(title=name, ylim=(0, 0.0108))
    for panel in panels[1]:
        panel.set_xlabel("epoch e")
    for panel in panels[:, 0]:
        panel.set_ylabel("learning rate")
    return fig


BATCH_SIZE = 8
EPOCHS = 20


def settling(*, seed: int = 0) -> Figure:
    """Mini-batch descent near a minimum, at a constant and at a decaying rate."""
    x, y = _regression()
    hessian = x.T @ x / len(x)
    best = np.linalg.solve(hessian, x.T @ y / len(x))
    steps = -(-len(x) // BATCH_SIZE)
    decaying = fo.schedules.inverse_time(0.2, decay_rate=0.5, steps_per_epoch=steps)
    runs = (
        ("constant rate 0.2", style.SKY, _path(x, y, 0.2, seed=seed)),
        ("decaying rate 0.2 / (1 + 0.5 epoch)", style.BLUE, _path(x, y, decaying, seed=seed)),
    )
    fig = style.figure(height=4.6, title="A decaying rate settles where a constant one wanders")
    plane, distance = fig.subplots(1, 2)
    for name, colour, path in runs:
        away = path - best
        cost = np.einsum("ti,ij,tj->t", away, hessian, away) / 2
        plane.plot(*path.T, color=colour, lw=0.6)
        distance.plot(np.arange(len(cost)) / steps, cost, color=colour, lw=0.5, alpha=0.4)
        distance.plot(np.arange(len(cost)) / steps, fo.ewma(cost, 0.98), color=colour, label=name)
    distance.set(yscale="log")
    distance.legend()
    return fig


def _path(x: np.ndarray, y: np.ndarray, lr, *, seed: int) -> np.ndarray:
    """The weights, before each step, of linear regression by mini-batch descent."""
    weights = np.zeros(2)
    optimizer = fo.SGD(weights, lr=lr)
    batches = fo.MiniBatches(x, y, batch_size=BATCH_SIZE, seed=seed)
    path = [weights.copy()]
    for _ in range(EPOCHS):
        for xb, yb in batches:
            optimizer.step(xb.T @ (xb @ weights - yb) / len(xb))
            path.append(weights.copy())
    return np.array(path)


def _regression() -> tuple[np.ndarray, np.ndarray]:
    """Tomorrow's temperature from today's: rows (1, today) and targets, standardized."""
    _, celsius = temperatures()
    z = (celsius - celsius.mean()) / celsius.std()
    return np.column_stack([np.ones(len(z) - 1), z[:-1]]), z[1:].copy()
