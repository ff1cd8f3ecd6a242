"""Forward and backward of torch: an MLP and a transformer. The threads are its OpenMP runtime's.

Ours steps torch's parameters without a copy; torch's fused AdamW steps a model of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import fastoptim as fo

from . import LR, OURS, Contender, Loop, positive_root

VOCABULARY, LAYERS, HEADS = 2000, 6, 4


class Transformer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, batch_first=True, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(x)))


def _gradients(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    def gradients() -> None:
        net.zero_grad()  # sets them to None: backward makes new ones
        out = net(x)
        nn.functional.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1)).backward()

    return gradients


def _loop(title: str, make: Callable[[], nn.Module], x: torch.Tensor, y: torch.Tensor) -> Loop:
    ours, theirs = make(), make()
    params = list(ours.parameters())
    opt = fo.AdamW([p.detach() for p in params], lr=LR)
    fused = torch.optim.AdamW(theirs.parameters(), lr=LR, fused=True)
    return Loop(title, sum(p.numel() for p in params), len(params), {
        OURS: Contender(_gradients(ours, x, y), lambda: opt.step([p.grad for p in params])),
        "torch fused": Contender(_gradients(theirs, x, y), fused.step),
    })


def mlp(n: int) -> Loop:
    width = positive_root(22 / 15, 784 + 2 + 82 / 15, n - 10)
    sizes = 784, width, width, max(1, 7 * width // 15), 10

    def make() -> nn.Module:
        layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    return _loop(f"torch, MLP of {'-'.join(map(str, sizes))}, batches of 64", make,
                 torch.randn(64, 784), torch.randint(0, 10, (64,)))


def transformer(n: int) -> Loop:
    width = HEADS * positive_root(12 * LAYERS * HEADS**2,
                                  (2 * VOCABULARY + 13 * LAYERS) * HEADS, n - VOCABULARY)
    return _loop(f"torch, transformer of {LAYERS} layers of {width}, 4 sequences of 32",
                 lambda: Transformer(width),
                 *(torch.randint(0, VOCABULARY, (4, 32)) for _ in "xy"))


LOOPS = {"mlp": (4_486_710, mlp), "transformer": (5_766_608, transformer)}
