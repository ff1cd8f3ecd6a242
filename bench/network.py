"""The network that bench/epoch.py trains, in NumPy, and the made-up data that it learns."""

from __future__ import annotations

import numpy as np

LAYERS = (784, 128, 64, 10)
BATCH = 64


def make_data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows in [0, 1], a fifth of the pixels bright, and their classes."""
    rng = np.random.default_rng(seed)
    patterns = (rng.random((10, LAYERS[0])) < 0.2).astype(np.float32)
    y = rng.integers(0, 10, n)
    x = rng.standard_normal((n, LAYERS[0]), dtype=np.float32)
    x *= 0.5
    x += patterns[y]
    return np.clip(x, 0, 1, out=x), y


def make_weights(seed: int = 1) -> list[np.ndarray]:
    """W1, b1, W2, b2, W3, b3; He's initial weights."""
    rng = np.random.default_rng(seed)
    weights = []
    for fan_in, fan_out in zip(LAYERS, LAYERS[1:]):
        w = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        weights += [w.astype(np.float32), np.zeros(fan_out, np.float32)]
    return weights


class Network:
    """Forward and backward in NumPy, into gradients and buffers that are allocated once."""

    def __init__(self) -> None:
        self.params = make_weights()
        self.grads = [np.zeros_like(p) for p in self.params]
        self._outputs = [np.empty((BATCH, k), np.float32) for k in LAYERS[1:]]
        self._deltas = [np.empty((BATCH, k), np.float32) for k in LAYERS[1:]]

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """The batch's mean loss; fills the gradients."""
        m = len(x)
        inputs = [x]
        for k, out in enumerate(self._outputs):
            z = np.matmul(inputs[-1], self.params[2 * k], out=out[:m])
            z += self.params[2 * k + 1]
            if k < len(LAYERS) - 2:
                np.maximum(z, 0, out=z)
            inputs.append(z)
        scores = inputs.pop()
        scores -= scores.max(axis=1, keepdims=True)
        rows = np.arange(m)
        delta = np.exp(scores, out=self._deltas[-1][:m])
        total = delta.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - scores[rows, y]).mean())
        delta /= total
        delta[rows, y] -= 1
        delta /= m
        for k in range(len(LAYERS) - 2, -1, -1):
            np.matmul(inputs[k].T, delta, out=self.grads[2 * k])
            np.sum(delta, axis=0, out=self.grads[2 * k + 1])
            if k:
                back = np.matmul(delta, self.params[2 * k].T, out=self._deltas[k - 1][:m])
                back *= inputs[k] > 0
                delta = back
        return loss
