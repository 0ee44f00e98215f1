"""Adam with decoupled weight decay."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.optim.base import BaseOptimizer, State


class AdamW(BaseOptimizer):
    """m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  w ← (1 − lr λ) w − lr · m̂ / (√v̂ + ε).

    With m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ) (Loshchilov and Hutter, ICLR 2019, algorithm 2; `torch.optim.AdamW`).
    The moments start at zero in every round.
    """

    beta1: float = key(0.9, "decay of the mean of the gradient", "Kingma and Ba 2015", ge=0.0, lt=1.0)
    beta2: float = key(0.999, "decay of the mean of its square", "Kingma and Ba 2015", ge=0.0, lt=1.0)
    epsilon: float = key(1e-8, "term that keeps the denominator from zero", "Kingma and Ba 2015", gt=0.0, le=LARGE)

    def init(self, theta_P: Tensor) -> State:
        """Moments of zero, and the number of steps taken."""
        return {"m": torch.zeros_like(theta_P), "v": torch.zeros_like(theta_P), "t": torch.zeros_like(theta_P[..., :1])}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """One step."""
        gradient_P = self.clipped(gradient_P)
        t = state["t"] + 1
        m_P = self.beta1 * state["m"] + (1 - self.beta1) * gradient_P
        v_P = self.beta2 * state["v"] + (1 - self.beta2) * gradient_P**2
        denominator_P = (v_P / (1 - self.beta2**t)).sqrt() + self.epsilon
        theta_P = theta_P * (1 - lr * self.weight_decay) - lr * (m_P / (1 - self.beta1**t)) / denominator_P
        return theta_P, {"m": m_P, "v": v_P, "t": t}
