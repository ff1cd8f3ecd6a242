"""A network of one hidden layer in plain NumPy: its cost and its gradients.

Notation: X is (m, n_x), one sample a row; Y is (m, n_y), one-hot; for layer l,
Z is what goes into its activation and A what comes out. dV is the derivative of
the cost with respect to V.
"""

import numpy as np

Arrays = dict[str, np.ndarray]


def init(n_x: int, n_hidden: int, n_y: int, *, seed: int = 0, dtype=np.float32) -> Arrays:
    """Random weights and zero biases: ``{"W1", "b1", "W2", "b2"}``.

    He initialization: W ~ Normal(0, 2 / fan_in), so that the ReLU, which zeroes
    half of its inputs, hands on signals of the size that it got.

    He et al., "Delving Deep into Rectifiers", 2015.
    """
    rng = np.random.default_rng(seed)

    def weights(fan_in: int, fan_out: int) -> np.ndarray:
        w = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        return w.astype(dtype)

    return {
        "W1": weights(n_x, n_hidden),
        "b1": np.zeros(n_hidden, dtype),
        "W2": weights(n_hidden, n_y),
        "b2": np.zeros(n_y, dtype),
    }


def forward(params: Arrays, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer A1 and the logarithms of the class probabilities, log A2.

    Z1 = X W1 + b1       A1 = max(Z1, 0)
    Z2 = A1 W2 + b2      A2 = exp(Z2) / sum(exp(Z2))    (row by row)
    """
    a1 = np.maximum(x @ params["W1"] + params["b1"], 0)
    z2 = a1 @ params["W2"] + params["b2"]
    # A shift of Z2 leaves the softmax alone and keeps exp from overflowing.
    z2 -= z2.max(axis=1, keepdims=True)
    return a1, z2 - np.log(np.exp(z2).sum(axis=1, keepdims=True))


def _cost(params: Arrays, log_a2: np.ndarray, y: np.ndarray, l2: float) -> float:
    squares = sum(np.vdot(params[name], params[name]) for name in ("W1", "W2"))
    return float(l2 / 2 * squares - np.vdot(y, log_a2) / len(y))


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
    a1, log_a2 = forward(params, x)
    dz2 = (np.exp(log_a2) - y) / len(y)
    dz1 = (dz2 @ params["W2"].T) * (a1 > 0)
    for layer, a, dz in ((1, x, dz1), (2, a1, dz2)):
        dw = grads[f"W{layer}"]
        np.matmul(a.T, dz, out=dw)
        dw += l2 * params[f"W{layer}"]
        np.sum(dz, axis=0, out=grads[f"b{layer}"])
    return _cost(params, log_a2, y, l2)


def accuracy(params: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the samples whose most probable class is the right one."""
    _, log_a2 = forward(params, x)
    return float(np.mean(log_a2.argmax(axis=1) == y.argmax(axis=1)))
