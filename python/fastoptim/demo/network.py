"""A fully connected network in plain NumPy: its cost and its gradients.

Notation: X is (m, n_x), one sample a row; Y is (m, n_y), one-hot; for layer l,
Z is the input of its activation and A the output. dV is the derivative of the
cost with respect to V. The hidden layers have ReLU, the last one softmax.

The demo trains such a network with one hidden layer; the programs in bench/ time
steps between the gradients of larger ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Arrays = dict[str, np.ndarray]


def init(*sizes: int, seed: int = 0, dtype: DTypeLike = np.float32) -> Arrays:
    """Random weights and zero biases for layers of these sizes, the input's first.

    ``init(64, 128, 10)`` returns ``{"W1", "b1", "W2", "b2"}``.

    He initialization: W ~ Normal(0, 2 / fan_in), so that the outputs of a ReLU, which
    zeroes half of its inputs, vary as much as the inputs of the layer do.

    He et al., "Delving Deep into Rectifiers", 2015.
    """
    rng = np.random.default_rng(seed)
    params: Arrays = {}
    for layer, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:]), 1):
        w = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        params[f"W{layer}"] = w.astype(dtype)
        params[f"b{layer}"] = np.zeros(fan_out, dtype)
    return params


def forward(params: Arrays, x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs of all layers, [X, A1, ...], and the logarithms of the class probabilities.

    Z1 = X W1 + b1       A1 = max(Z1, 0)
    Z2 = A1 W2 + b2      A2 = exp(Z2) / sum(exp(Z2))    (row by row)
    """
    inputs, z, n_layers = [x], x, len(params) // 2
    for layer in range(1, n_layers + 1):
        z = inputs[-1] @ params[f"W{layer}"]
        z += params[f"b{layer}"]
        if layer < n_layers:
            inputs.append(np.maximum(z, 0, out=z))
    # A shift of Z leaves the softmax as it is and keeps exp from overflowing.
    z -= z.max(axis=1, keepdims=True)
    return inputs, z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _cost(params: Arrays, log_a: np.ndarray, y: np.ndarray, l2: float) -> float:
    penalty = 0.0
    if l2:
        penalty = l2 / 2 * sum(np.vdot(w, w) for name, w in params.items() if name[0] == "W")
    return float(penalty - np.vdot(y, log_a) / len(y))


def cost(params: Arrays, x: np.ndarray, y: np.ndarray, *, l2: float = 0.0) -> float:
    """Cross-entropy, averaged over the samples, plus an L2 penalty on the weights.

    J = -1/m sum(Y * log A2) + l2/2 (sum(W1**2) + sum(W2**2))
    """
    return _cost(params, forward(params, x)[1], y, l2)


def gradients(
    params: Arrays, x: np.ndarray, y: np.ndarray, grads: Arrays, *, l2: float = 0.0
) -> float:
    """Write the derivatives of the cost J into `grads` and return J.

    dZ2 = (A2 - Y) / m          dW2 = A1' dZ2 + l2 W2     db2 = column sums of dZ2
    dZ1 = (dZ2 W2') * (A1 > 0)  dW1 = X' dZ1 + l2 W1      db1 = column sums of dZ1

    `grads` has the names, shapes and dtype of `params`. Its arrays are reused at
    every step, so that an optimizer can be bound to them once.
    """
    inputs, log_a = forward(params, x)
    dz = np.exp(log_a)
    dz -= y
    dz /= len(y)
    for layer in range(len(inputs), 0, -1):
        a, w, dw = inputs[layer - 1], params[f"W{layer}"], grads[f"W{layer}"]
        np.matmul(a.T, dz, out=dw)
        if l2:
            dw += l2 * w
        np.sum(dz, axis=0, out=grads[f"b{layer}"])
        if layer > 1:
            dz = dz @ w.T
            dz *= a > 0
    return _cost(params, log_a, y, l2)


def accuracy(params: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the samples whose most probable class is the right one."""
    _, log_a = forward(params, x)
    return float(np.mean(log_a.argmax(axis=1) == y.argmax(axis=1)))
