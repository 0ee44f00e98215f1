"""Muon: Jordan et al. 2024, by singular values.

V ← μ V + (1 − μ) G, U = μ V + (1 − μ) G;  with U / (‖U‖_F + 1e-7) = P diag(s) Qᵀ each of five steps is s ← a s + b s³ +
c s⁵, so the step is P diag(s₅) Qᵀ √max(1, n/m), after the decay w ← (1 − η λ) w. A convolution's filters are rows.
Whatever has one dimension: torch.optim.AdamW at `rest` times the learning rate.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def orthogonal(matrix: Tensor) -> Tensor:
    """P diag(s₅) Qᵀ of a matrix."""
    p, s, qt = torch.linalg.svd(matrix / (float((matrix**2).sum()) ** 0.5 + 1e-7), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    found: Tensor = p @ torch.diag(s) @ qt
    return found


class Muon:
    """Over a list of parameters, as torch's optimisers are."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, **settings: Any) -> None:
        self.param_groups = [{"lr": lr}]
        self.momentum, self.nesterov = settings.pop("momentum"), settings.pop("nesterov")
        self.rest, self.decay = settings.pop("rest"), settings.get("weight_decay", 0.0)
        self.matrices = [p for p in parameters if p.dim() > 1]
        self.velocities = [torch.zeros_like(p) for p in self.matrices]
        others = [p for p in parameters if p.dim() <= 1]
        self.adam = torch.optim.AdamW(others, lr=1.0, foreach=False, **settings) if others else None

    def step(self) -> None:
        """One step along `grad`."""
        lr = self.param_groups[0]["lr"]
        for i, w in enumerate(self.matrices):
            assert w.grad is not None
            self.velocities[i] = self.momentum * self.velocities[i] + (1 - self.momentum) * w.grad
            u = (
                self.momentum * self.velocities[i] + (1 - self.momentum) * w.grad
                if self.nesterov
                else self.velocities[i]
            )
            rows = u.reshape(u.shape[0], -1)
            scale = math.sqrt(max(1.0, rows.shape[0] / rows.shape[1]))
            with torch.no_grad():
                w.copy_((1 - lr * self.decay) * w - lr * scale * orthogonal(rows).reshape(w.shape))
        if self.adam is not None:
            self.adam.param_groups[0]["lr"] = lr * self.rest
            self.adam.step()
