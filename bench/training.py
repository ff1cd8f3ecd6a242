"""Training with storage in fewer bytes beside float32: a network on scanned digits.

    python bench/training.py [--seeds 5] [--epochs 120]

Every run of a seed starts from the same weights and gets the same mini-batches; only the stored
types and the rounding differ. The printed loss and accuracy are means over the seeds, of the
parameters as stored at the end. Needs the extra `demo` and ml_dtypes.
"""

import argparse
import statistics

import ml_dtypes
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import fastoptim as fo
from fastoptim.demo import network

BF16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
# name -> parameters' dtype, the optimizer's options; gradients are of the parameters' dtype.
CONTENDERS = {
    "float32": (F32, {}),
    "bfloat16 state": (F32, {"state_dtype": "bfloat16"}),
    "bfloat16 everything": (BF16, {"state_dtype": "bfloat16"}),
    "bfloat16 with masters": (BF16, {"state_dtype": "bfloat16", "master": True}),
    "q8 state": (F32, {"state_dtype": "q8"}),
    "q8 state, bfloat16": (BF16, {"state_dtype": "q8"}),
    "bfloat16 state, to nearest": (F32, {"state_dtype": "bfloat16", "rounding": "nearest"}),
    "bfloat16, to nearest": (BF16, {"state_dtype": "bfloat16", "rounding": "nearest"}),
    "q8 state, to nearest": (F32, {"state_dtype": "q8", "rounding": "nearest"}),
}
LR, BATCH, HIDDEN = 1e-3, 64, 128


def data(seed: int):
    """Training and test samples: pixels in [0, 1], labels one-hot."""
    x, y = load_digits(return_X_y=True)
    y = np.eye(10, dtype=np.float32)[y]
    return train_test_split((x / 16).astype(np.float32), y, test_size=0.25, random_state=seed)


def train(name: str, seed: int, epochs: int) -> tuple[float, float]:
    """(loss on the training set, accuracy on the test set in %) at the end."""
    dtype, options = CONTENDERS[name]
    x, x_test, y, y_test = data(seed)
    initial = network.init(x.shape[1], HIDDEN, 10, seed=seed)
    params = {key: w.astype(dtype) for key, w in initial.items()}
    grads = {key: np.empty_like(w) for key, w in params.items()}
    opt = fo.Adam(params, grads, lr=LR, seed=seed, **options)
    values = {key: np.empty(w.shape, np.float32) for key, w in params.items()}
    computed = {key: np.empty_like(w) for key, w in values.items()}

    def read() -> None:
        for key, w in params.items():
            values[key][...] = w

    for _, (xs, ys) in zip(range(epochs * -(-len(x) // BATCH)), batches(x, y, seed)):
        read()
        network.gradients(values, xs, ys, computed)
        for key, g in computed.items():
            grads[key][...] = g
        opt.step()
    read()
    return network.cost(values, x, y), 100 * network.accuracy(values, x_test, y_test)


def batches(x: np.ndarray, y: np.ndarray, seed: int):
    """Mini-batches without end; every epoch has another order."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for k in range(0, len(x), BATCH):
            yield x[order[k:k + BATCH]], y[order[k:k + BATCH]]


def table(seeds: int, epochs: int, names=tuple(CONTENDERS)) -> dict[str, tuple[float, float]]:
    """Name -> mean loss and mean accuracy."""
    with threadpool_limits(1):  # matrices as small as these gain nothing from more threads
        runs = {name: [train(name, seed, epochs) for seed in range(seeds)] for name in names}
    return {name: tuple(map(statistics.mean, zip(*figures))) for name, figures in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=120)
    args = parser.parse_args()
    rows = table(args.seeds, args.epochs)
    loss, accuracy = rows["float32"]
    print(f"Adam, {args.epochs} epochs, means over {args.seeds} seeds\n")
    print(f"{'':28}training loss   to float32's   test accuracy   less float32's")
    for name, (a, b) in rows.items():
        print(f"{name:28}{a:13.5f}{100 * (a / loss - 1):+13.1f} %{b:14.2f} %{b - accuracy:+13.2f}")


if __name__ == "__main__":
    main()
