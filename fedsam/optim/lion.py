"""Lion: the sign of a mean of gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import BaseOptimizer, State


class Lion(BaseOptimizer):
    """c = β₁ m + (1 − β₁) g;  w ← w − lr · (sign(c) + λ w);  m ← β₂ m + (1 − β₂) g.

    Chen et al., NeurIPS 2023, arXiv 2302.06675, algorithm 2. Each weight moves by the learning rate, however small its
    gradient, so lr is that of the weights' own scale: a tenth to a third of AdamW's by the authors, with λ so many
    times larger. A weight whose c is exactly 0 stays; where c is a rounding error from 0 the sign is that error's, and
    two engines may part there. m starts at zero in every round.
    """

    beta1: float = key(0.9, "weight of the kept mean in a step's direction", "Chen et al. 2023", ge=0.0, lt=1.0)
    beta2: float = key(0.99, "decay of the kept mean", "Chen et al. 2023", ge=0.0, lt=1.0)

    def init(self, theta_P: Tensor) -> State:
        """A mean gradient of zeros."""
        return {"m": torch.zeros_like(theta_P)}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """One step."""
        gradient_P = self.clipped(gradient_P)
        sign_P = torch.sign(self.beta1 * state["m"] + (1 - self.beta1) * gradient_P)
        m_P = self.beta2 * state["m"] + (1 - self.beta2) * gradient_P
        return theta_P - lr * (sign_P + self.weight_decay * theta_P), {"m": m_P}
