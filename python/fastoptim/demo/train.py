"""Trains the network on scanned digits by six methods that differ only in the step.

Every method starts from the same weights, passes over the same samples the same
number of times, and minimizes the same cost. They differ in the number of samples
of a step and in the rule that the step applies to the gradient.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import sklearn.datasets
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits  # comes with scikit-learn
from tqdm import tqdm

import fastoptim as fo
from fastoptim.demo import network

HIDDEN = 128
L2 = 1e-4


@dataclass(frozen=True)
class Data:
    """Samples in rows, pixels in [0, 1]; labels one-hot."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Method:
    """A method of descent: the number of samples of a step, and its rule.

    `batch_size` None means all samples. `optimizer` is called with the parameters,
    the gradients to bind, and the number of steps in an epoch.
    """

    name: str
    batch_size: int | None
    optimizer: Callable[[network.Arrays, network.Arrays, int], fo.Optimizer]


@dataclass
class Result:
    """The record of a training run.

    `batch_costs[k]` is the cost of step k's own mini-batch, before the step;
    `epoch_costs[e]` that of the whole training set after e epochs, which took
    `epoch_seconds[e]`: gradients and steps, without the evaluation of `epoch_costs`.
    """

    name: str
    batch_size: int
    steps: int = 0
    accuracy: float = 0.0
    batch_costs: list[float] = field(default_factory=list)
    epoch_costs: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=lambda: [0.0])

    @property
    def seconds(self) -> float:
        return self.epoch_seconds[-1]

    @property
    def epochs(self) -> int:
        return len(self.epoch_costs) - 1


def _decaying(lr: float, steps_per_epoch: int) -> fo.schedules.inverse_time:
    return fo.schedules.inverse_time(lr, decay_rate=0.2, steps_per_epoch=steps_per_epoch)


# Each rate is about the largest of 2, 1, 0.5, 0.2, 0.1, ... with which the cost of the
# training set still decreases from epoch to epoch, but for ripples. So every method is about
# as fast as it can be while stable, and none is handicapped by the rate of another.
METHODS = (
    Method("Batch gradient descent", None, lambda p, g, n: fo.SGD(p, g, lr=0.5)),
    Method("Stochastic gradient descent", 1, lambda p, g, n: fo.SGD(p, g, lr=0.01)),
    Method("Mini-batch gradient descent", 32, lambda p, g, n: fo.SGD(p, g, lr=0.2)),
    Method("Momentum, decaying rate", 32, lambda p, g, n: fo.Momentum(p, g, lr=_decaying(2.0, n))),
    Method("RMSProp, decaying rate", 32, lambda p, g, n: fo.RMSProp(p, g, lr=_decaying(0.005, n))),
    Method("Adam, decaying rate", 32, lambda p, g, n: fo.Adam(p, g, lr=_decaying(0.02, n))),
)


def load_digits() -> Data:
    """The 1797 scans of 8 x 8 pixels that scikit-learn ships; a quarter is for testing.

    The split is fixed and stratified: every digit has the same frequency in both parts.
    1344 samples are 42 whole mini-batches of 32: no epoch ends with a tiny batch, whose
    noisy gradient would undo progress.
    """
    x, digit = sklearn.datasets.load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    y = np.eye(10, dtype=np.float32)[digit]
    x_train, x_test, y_train, y_test = map(np.asarray, train_test_split(
        x, y, train_size=1344, stratify=digit, random_state=0
    ))
    return Data(x_train, y_train, x_test, y_test)


def train(
    method: Method,
    data: Data,
    *,
    epochs: int,
    seed: int = 0,
    after_epoch: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Train a fresh network with one method; `after_epoch` is called after each epoch."""
    x, y = data.x_train, data.y_train
    params = network.init(x.shape[1], HIDDEN, y.shape[1], seed=seed)
    grads = {name: np.empty_like(param) for name, param in params.items()}
    batches = fo.MiniBatches(x, y, batch_size=method.batch_size or len(x), seed=seed)
    optimizer = method.optimizer(params, grads, len(batches))

    result = Result(method.name, method.batch_size or len(x))
    result.epoch_costs.append(network.cost(params, x, y, l2=L2))
    for _ in range(epochs):
        start = perf_counter()
        for x_batch, y_batch in batches:
            result.batch_costs.append(network.gradients(params, x_batch, y_batch, grads, l2=L2))
            optimizer.step()
        result.epoch_seconds.append(result.seconds + perf_counter() - start)
        result.epoch_costs.append(network.cost(params, x, y, l2=L2))
        after_epoch(result)
    result.steps = optimizer.t
    result.accuracy = network.accuracy(params, data.x_test, data.y_test)
    return result


def train_all(data: Data, *, epochs: int, seed: int = 0) -> Iterator[Result]:
    """Train with every method in turn, under one progress bar; yields the results as it goes."""
    bar = tqdm(
        total=len(METHODS) * epochs,
        bar_format="{desc:27} {bar} {n_fmt}/{total_fmt} epochs{postfix}",
        ncols=80,
        leave=False,
        disable=None,  # disabled unless the output is a terminal
    )
    # With matrices this small, one BLAS thread is as fast, and its times vary less.
    with bar, threadpool_limits(1, user_api="blas"):

        def show(result: Result) -> None:
            bar.set_description_str(result.name, refresh=False)
            bar.set_postfix_str(f"cost {result.epoch_costs[-1]:.3f}", refresh=False)
            bar.update()

        for method in METHODS:
            yield train(method, data, epochs=epochs, seed=seed, after_epoch=show)


def introduction(data: Data, epochs: int) -> str:
    """Describe the data, the network, and what all methods have in common."""
    (m, n_x), n_y = data.x_train.shape, data.y_train.shape[1]
    return (
        f"Digits: {m} scans to learn from, {len(data.x_test)} to test on.\n"
        f"Network: {n_x} pixels, {HIDDEN} ReLU units, {n_y} classes; softmax, L2 {L2:g}.\n"
        f"Equal for all: the initial weights and {epochs} epochs (passes over the scans).\n"
    )


def table(results: Iterable[Result]) -> str:
    """The results as text of at most 80 columns, a method a line."""
    head = f"{'method':27}  {'batch':>5}  {'steps':>6}  {'epochs':>6}  {'time':>7}"
    lines = [f"{head}  {'loss':>6}  {'accuracy':>8}"]
    lines.append("-" * len(lines[0]))
    for r in results:
        lines.append(
            f"{r.name:27}  {r.batch_size:5d}  {r.steps:6d}  {r.epochs:6d}  {r.seconds:5.2f} s"
            f"  {r.epoch_costs[-1]:6.4f}  {r.accuracy:8.1%}"
        )
    lines.append("")
    lines.append("loss: the cost of the training set; accuracy: on the test set.")
    return "\n".join(lines)
