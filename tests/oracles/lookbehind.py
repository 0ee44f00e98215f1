"""Lookbehind: Mordido et al., ICML 2024, as its equations say and its authors' code does: 2k gradients a step.

φ_0 = φ'_0 = w. For i = 1 ... k on one mini-batch: ε_i from ∇L_B(φ'_{i−1}); φ'_i = φ'_{i−1} + ε_i; φ_i = one step of
the base optimiser from φ_{i−1} along ∇L_B(φ'_i). Then w ← φ_0 + α (φ_k − φ_0); the base keeps its buffers.

Adaptive: α = (cos + 1) / 2, cos between φ_1 − φ_0 and φ_k − φ_0, over everything or tensor by tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from tests.oracles.descent import Descent

Gradients = Callable[[list[Tensor]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def cosine(a: list[Tensor], b: list[Tensor]) -> float:
    """The cosine of the angle between two lists of tensors, each taken as one vector."""
    inner = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
    squares = [sum(float((x * x).sum()) for x in tensors) for tensors in (a, b)]
    return inner / math.sqrt(squares[0]) / math.sqrt(squares[1])


class Lookbehind:
    """The steps of one round; `base` holds the fast weights, and the slow ones before and after a step."""

    def __init__(self, k: int, alpha: float | Literal["global", "tensor"]) -> None:
        self.k, self.alpha = k, alpha

    def step(self, base: Descent, gradients_at: Gradients, perturb: Perturb, lr: float) -> None:
        """k steps of the base on one mini-batch, and the interpolation."""
        slow = base.weights
        behind = base.weights
        fast = [slow]
        for _ in range(self.k):
            eps = perturb(behind, gradients_at(behind))
            behind = [w + e for w, e in zip(behind, eps, strict=True)]
            base.step(gradients_at(behind), lr)
            fast.append(base.weights)
        first = [a - b for a, b in zip(fast[1], slow, strict=True)]
        whole = [a - b for a, b in zip(fast[-1], slow, strict=True)]
        if self.alpha == "global":
            alphas = [(cosine(first, whole) + 1) / 2] * len(slow)
        elif self.alpha == "tensor":
            alphas = [(cosine([a], [b]) + 1) / 2 for a, b in zip(first, whole, strict=True)]
        else:
            alphas = [self.alpha] * len(slow)
        with torch.no_grad():
            for parameter, w, move, a in zip(base.parameters, slow, whole, alphas, strict=True):
                parameter.copy_(w + a * move)
