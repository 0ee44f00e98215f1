"""GSAM: surrogate-gap guided sharpness-aware minimisation."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State, dot


class GSAM(Around):
    """w ← base(w, g_p − α · g_⊥), with g = ∇L_B(w), g_p = ∇L_B(w + ε), g_⊥ = g − (g·g_p / ‖g_p‖²) g_p.

    Zhuang et al., ICLR 2022, algorithm 1. Descent along g_p lowers the perturbed loss; ascent along g_⊥, the component
    of g that is orthogonal to it, lowers the gap between the perturbed loss and the loss. Dot product and norm go over
    all parameters, and the decomposition is of unclipped gradients. ε is SAM's or, as in the authors' code, ASAM's; ρ
    does not change during training (theirs follows the learning rate).

    Two gradient evaluations a step. α = 0 is the perturbed optimiser itself and ρ = 0 the base, bit for bit: there
    g·g_p / ‖g_p‖² is exactly 1. Where g_p is zero, all of g is orthogonal to it, as in the authors' code.
    """

    ascent: Perturbed = key("sam", "the perturbation ε, with its base optimiser", "Zhuang et al. 2022")
    alpha: float = key(
        0.2,
        "α, weight of the orthogonal component",
        "the authors' code, CIFAR-10; 0.6 in that for ViT-B/32",
        ge=0.0,
        le=LARGE,
    )

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """The base's step along g_p − α · g_⊥."""
        gradient_P = oracle(theta_P)
        sharp_P = oracle(theta_P + self.ascent.ascend(theta_P, gradient_P, oracle))
        orthogonal_P = orthogonal(gradient_P, sharp_P)
        direction_P = sharp_P - self.alpha * orthogonal_P
        return self.base_optimizer.follow(theta_P, state, direction_P, oracle, lr)


def orthogonal(vector_P: Tensor, axis_P: Tensor) -> Tensor:
    """The component of a vector that is orthogonal to an axis: v − (v·a / ‖a‖²) a; the vector itself if a = 0.

    The quotient is of two sums made in the same way, so that it is exactly 1, and nothing is left, where v = a.
    """
    square = dot(axis_P, axis_P)
    share = torch.where(square > 0, dot(vector_P, axis_P) / square, 0.0)
    return vector_P - share * axis_P
