"""Learning-rate schedules, and the effect of a decaying rate."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

import fastoptim as fo
from fastoptim import plotting
from fastoptim.demo.pictures.series import temperatures


def schedules() -> Figure:
    """Six schedules, each drawn over the other five."""
    make = fo.schedules
    curves = {
        r"constant:  $\alpha_0$": make.constant(0.01),
        r"inverse_time:  $\alpha_0\, /\, (1 + 0.1\, e)$": make.inverse_time(0.01, decay_rate=0.1),
        r"exponential:  $\alpha_0 \cdot 0.95^e$": make.exponential(0.01, base=0.95),
        r"inverse_sqrt:  $\alpha_0\, /\, \sqrt{e + 1}$": make.inverse_sqrt(0.01),
        "staircase: half every 15 epochs": make.staircase(0.01, factor=0.5, every=15),
        "piecewise: a table by hand": make.piecewise({0: 0.01, 20: 0.003, 45: 0.001}),
    }
    epochs = np.arange(60)
    rates = {title: [curve(int(e)) for e in epochs] for title, curve in curves.items()}
    fig = plotting.figure(height=5.0, title=r"Six schedules from the same $\alpha_0$ = 0.01")
    panels = fig.subplots(2, 3, sharex=True, sharey=True)
    for panel, title in zip(panels.flat, rates, strict=True):
        for other in rates.values():
            panel.step(epochs, other, where="post", color="#D8D8D8", lw=1)
        panel.step(epochs, rates[title], where="post", color=plotting.BLUE, lw=2.4)
        panel.set(title=title, xlim=(-1, 60), ylim=(0, 0.0108))
    for panel in panels[1]:
        panel.set_xlabel("epoch e")
    for panel in panels[:, 0]:
        panel.set_ylabel("learning rate")
    return fig


BATCH_SIZE = 8
EPOCHS = 12
RATE = 0.2


def settling(*, seed: int = 0) -> Figure:
    """Mini-batch descent near a minimum, at a constant and at a decaying rate.

    Tomorrow's temperature is predicted from today's, w0 + w1 z, by least squares.
    """
    x, y = _regression()
    hessian = x.T @ x / len(x)
    best = np.linalg.solve(hessian, x.T @ y / len(x))
    steps_per_epoch = -(-len(x) // BATCH_SIZE)
    decaying = fo.schedules.inverse_time(RATE, decay_rate=1.0, steps_per_epoch=steps_per_epoch)

    def excess(weights: np.ndarray) -> np.ndarray:
        """J(w) - J(best), for weights along the last axis."""
        away = weights - best
        heights: np.ndarray = np.einsum("...i,ij,...j->...", away, hessian, away) / 2
        return heights

    fig = plotting.figure(height=4.4, title="A decaying rate settles where a constant one wanders")
    *planes, distance = fig.subplots(1, 3, width_ratios=(1, 1, 1.35))
    planes[1].sharey(planes[0])
    planes[1].tick_params(labelleft=False)
    w0, w1 = np.meshgrid(np.linspace(-0.24, 0.24, 80), np.linspace(-0.05, 1.2, 80))
    bowl = excess(np.stack([w0, w1], axis=-1))
    runs: tuple[tuple[str, str, float | Callable[[int], float]], ...] = (
        (f"constant rate, {RATE}", plotting.SKY, RATE),
        (f"decaying rate, {RATE} / (1 + epoch)", plotting.BLUE, decaying),
    )
    for plane, (title, colour, lr) in zip(planes, runs, strict=True):
        path = _path(x, y, lr, seed=seed)
        plane.contour(w0, w1, bowl, np.geomspace(1e-3, 0.5, 7), colors="#C8C8C8", linewidths=0.7)
        plane.plot(*path.T, color=colour, lw=0.7)
        plane.plot(*best, "+", color=plotting.BLACK, ms=11, mew=1.6)
        plane.set(title=title, xlabel="$w_0$ (intercept)")
        plane.grid(False)
        distance.plot(fo.ewma(excess(path), 0.98), color=colour, label=title)
    planes[0].set_ylabel("$w_1$ (slope)")
    distance.set(
        yscale="log",
        title="Cost above the minimum",
        xlabel=f"step ({BATCH_SIZE} of {len(x)} samples each)",
        ylabel="J(w) \N{MINUS SIGN} J(best w), averaged over 50 steps",
    )
    distance.legend(loc="upper right")
    return fig


def _regression() -> tuple[np.ndarray, np.ndarray]:
    """Rows (1, z of today) and targets z of tomorrow; z is the standardized temperature."""
    _, celsius = temperatures()
    z = (celsius - celsius.mean()) / celsius.std()
    return np.column_stack([np.ones(len(z) - 1), z[:-1]]), z[1:].copy()


def _path(x: np.ndarray, y: np.ndarray, lr: float | Callable[[int], float], *,
          seed: int) -> np.ndarray:
    """The weights that mini-batch descent on the squared error visits, from zero on."""
    weights = np.zeros(2)
    optimizer = fo.SGD(weights, lr=lr)
    batches = fo.MiniBatches(x, y, batch_size=BATCH_SIZE, seed=seed)
    path = [weights.copy()]
    for _ in range(EPOCHS):
        for x_batch, y_batch in batches:
            error = x_batch @ weights - y_batch
            optimizer.step(x_batch.T @ error / len(error))
            path.append(weights.copy())
    return np.array(path)
