"""WSAM: Yue et al., KDD 2023, algorithm 1, as in the authors' code.

α = γ / (1 − γ);  decoupled: the base steps along g = ∇L_B(w), and then w ← w − η α (∇L_B(w + ε) − g);  else the base
steps along α ∇L_B(w + ε) + (1 − α) g.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.oracles.descent import Descent

Gradients = Callable[[list[Tensor]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


class WSAM:
    """Its steps."""

    def __init__(self, gamma: float, decouple: bool) -> None:
        self.alpha, self.decouple = gamma / (1 - gamma), decouple

    def step(self, base: Descent, gradients_at: Gradients, perturb: Perturb, lr: float) -> None:
        """One step of the base from its weights."""
        w = base.weights
        g = gradients_at(w)
        g_s = gradients_at([a + e for a, e in zip(w, perturb(w, g), strict=True)])
        if not self.decouple:
            base.step([self.alpha * b + (1 - self.alpha) * a for a, b in zip(g, g_s, strict=True)], lr)
            return
        base.step(g, lr)
        with torch.no_grad():
            for parameter, a, b in zip(base.parameters, g, g_s, strict=True):
                parameter.sub_(lr * self.alpha * (b - a))
