"""F-SAM: friendly sharpness-aware minimisation."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State


class FSAM(Around):
    """m ← λ m + (1 − λ) g;  d = g − σ m;  w ← base(w, ∇L_B(w + ρ d / ‖d‖₂)), with g = ∇L_B(w).

    Li et al., CVPR 2024, arXiv 2403.12350. m estimates the gradient of the whole loss; what is left of g without it,
    the noise of the mini-batch, is the direction of the perturbation. m starts at zero in every round, so the first
    step of a round climbs along g, as SAM does, and after t steps m is the mean gradient times 1 − λᵗ. The authors'
    code subtracts the m before its update, which is the same direction at σ = 1, and starts m at the first
    gradient.

    Two gradient evaluations a step. With ASAM's perturbation d takes the gradient's place, as in the authors' code.
    σ = 0 is the perturbed optimiser itself and ρ = 0 the base, bit for bit.
    """

    ascent: Perturbed = key("sam", "the perturbation, of d instead of g, with its base optimiser", "Li et al. 2024")
    sigma: float = key(1.0, "σ, share of the mean gradient that is taken away", "the authors' code", ge=0.0, le=LARGE)
    lmbda: float = key(
        0.9, "λ, decay of the mean gradient", "the authors' code; 0.95 in its example for CIFAR-100", ge=0.0, lt=1.0
    )

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def init(self, theta_P: Tensor) -> State:
        """The base's state, and a mean gradient of zeros."""
        return {**self.base_optimizer.init(theta_P), "fsam_m": torch.zeros_like(theta_P)}

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """The base's step with the gradient at the point perturbed along d."""
        gradient_P = oracle(theta_P)
        mean_P = self.lmbda * state["fsam_m"] + (1 - self.lmbda) * gradient_P
        noise_P = gradient_P - self.sigma * mean_P
        sharp_P = oracle(theta_P + self.ascent.ascend(theta_P, noise_P, oracle))
        theta_P, state = self.base_optimizer.follow(theta_P, state, sharp_P, oracle, lr)
        return theta_P, {**state, "fsam_m": mean_P}
