"""ESAM: SAM that perturbs some tensors and descends along the examples that are sensitive to it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State

KEYS = "esam"
"""Name of the draws."""


class ESAM(Around):
    """ε = ε₁(w, z ⊙ g) / β, each parameter tensor in z with probability β;  w ← base(w, ∇L_{B⁺}(w + ε)), with ε₁ the
    perturbation of SAM (ρ z ⊙ g / ‖z ⊙ g‖₂) or, as in the authors' code, of ASAM, g = ∇L_B(w), and B⁺ the ⌊γ |B|⌋
    examples of the mini-batch whose loss rises most from w to w + ε (at least one; ties are all in).

    Du et al., ICLR 2022, arXiv 2110.03141: stochastic weight perturbation and sharpness-sensitive data selection. By
    the authors' code: tensors are drawn whole and anew in each step, and the norm goes over the drawn ones. There the
    example at the cut is left out and ties with it, so that nothing is left at ρ = 0, and in the first step of all
    every tensor is in. The paper's own text could not be read, nor whether it draws single parameters.

    β = γ = 1 is the perturbed optimiser and ρ = 0 the base, bit for bit (there all losses stay). Two gradient
    evaluations and two forward passes a step: examples are left out by selection, as blocks of clients need it, so this
    is ESAM's mathematics and not its speed. Batch normalisation sees the whole mini-batch.
    """

    ascent: Perturbed = key("sam", "the perturbation ε₁, with its base optimiser", "Du et al. 2022")
    beta: float = key(0.6, "β, probability of a tensor to be perturbed", "the authors' CIFAR-10", gt=0.0, le=1.0)
    gamma: float = key(0.5, "γ, share of the examples to descend along", "the authors' CIFAR-10", gt=0.0, le=1.0)

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def draw(
        self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]
    ) -> dict[str, np.ndarray]:
        """The key of each step's tensors, int32 [T, B, 2], the same for the whole batch."""
        if self.beta == 1:
            return {}
        words = rng.integers(2**32, size=(len(count_T), 1, 2), dtype=np.uint32).view(np.int32)
        return {KEYS: np.repeat(words, batch, axis=1)}

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step of the base with the gradient of some examples at theta + ε."""
        direction_P = oracle.ascent(oracle(theta_P), theta_P)
        if self.beta < 1:
            direction_P = torch.where(oracle.drawn(KEYS, self.beta), direction_P, 0.0)
        epsilon_P = oracle.perturbed(self.ascent.perturbation(theta_P, direction_P, oracle.layout) / self.beta, theta_P)
        oracle.ascended(epsilon_P)
        if self.gamma < 1:
            oracle.select(theta_P, theta_P + epsilon_P, self.gamma)
        return self.base_optimizer.follow(theta_P, state, oracle(theta_P + epsilon_P), oracle, lr)
