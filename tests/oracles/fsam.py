"""F-SAM: Li et al., CVPR 2024.

m_t = λ m_{t−1} + (1 − λ) g_t, m_0 = 0, so m_t = (1 − λ) Σ_s λ^(t−s) g_s;  d_t = g_t − σ m_t;  ε_t = ρ d_t / ‖d_t‖;
the base optimiser steps from w along ∇L_B(w + ε_t).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.oracles.descent import Descent

Gradients = Callable[[list[Tensor]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


class FSAM:
    """The steps of one round; it keeps every gradient and sums them anew."""

    def __init__(self, sigma: float, lmbda: float) -> None:
        self.sigma, self.lmbda = sigma, lmbda
        self.history: list[list[Tensor]] = []

    def step(self, base: Descent, gradients_at: Gradients, perturb: Perturb, lr: float) -> None:
        """One step of the base from its weights."""
        w = base.weights
        self.history.append(gradients_at(w))
        now = len(self.history) - 1
        d = []
        for i, g in enumerate(self.history[now]):
            mean = torch.zeros_like(g)
            for s, past in enumerate(self.history):
                mean += (1 - self.lmbda) * self.lmbda ** (now - s) * past[i]
            d.append(g - self.sigma * mean)
        base.step(gradients_at([a + e for a, e in zip(w, perturb(w, d), strict=True)]), lr)
