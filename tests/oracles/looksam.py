"""LookSAM: Liu et al., CVPR 2022, algorithm 1.

t mod k = 0:  g_s = ∇L_B(w + ε);  g_v = g_s − ‖g_s‖ cos(θ) g / ‖g‖, θ between g_s and g = ∇L_B(w);  step along g_s.
otherwise:    step along g + α (‖g‖ / ‖g_v‖) g_v, with the g_v of the last such step.
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


class LookSAM:
    """The steps of one round."""

    def __init__(self, k: int, alpha: float) -> None:
        self.k, self.alpha = k, alpha
        self.t = 0
        self.g_v: list[Tensor] = []

    def step(self, base: Descent, gradients_at: Gradients, perturb: Perturb, lr: float) -> None:
        """One step of the base from its weights."""
        w = base.weights
        g = gradients_at(w)
        if self.t % self.k == 0:
            g_s = gradients_at([a + e for a, e in zip(w, perturb(w, g), strict=True)])
            cosine = sum(float((a * b).sum()) for a, b in zip(g, g_s, strict=True)) / (norm(g) * norm(g_s))
            self.g_v = [b - norm(g_s) * cosine * a / norm(g) for a, b in zip(g, g_s, strict=True)]
        else:
            g_s = [a + self.alpha * norm(g) / norm(self.g_v) * v for a, v in zip(g, self.g_v, strict=True)]
        base.step(g_s, lr)
        self.t += 1
