"""GSAM: Zhuang et al., ICLR 2022, algorithm 1.

g = ∇L_B(w);  g_p = ∇L_B(w + ε);  g = g_par + g_perp, with g_par parallel to g_p;  the base steps from w along
g_p − α g_perp. Parallel component by the cosine, as in the authors' code: ‖g‖ cos(g, g_p) g_p / ‖g_p‖.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tests.oracles.descent import Descent

Gradients = Callable[[list[Tensor]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def norm(tensors: list[Tensor]) -> float:
    """‖·‖₂ over all tensors together."""
    return math.sqrt(sum(float((t * t).sum()) for t in tensors))


class GSAM:
    """The steps of one round."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def step(self, base: Descent, gradients_at: Gradients, perturb: Perturb, lr: float) -> None:
        """One step of the base from its weights."""
        w = base.weights
        g = gradients_at(w)
        g_p = gradients_at([a + e for a, e in zip(w, perturb(w, g), strict=True)])
        cosine = sum(float((a * b).sum()) for a, b in zip(g, g_p, strict=True)) / (norm(g) * norm(g_p))
        parallel = [norm(g) * cosine * b / norm(g_p) for b in g_p]
        perpendicular = [a - b for a, b in zip(g, parallel, strict=True)]
        base.step([b - self.alpha * c for b, c in zip(g_p, perpendicular, strict=True)], lr)
