"""WSAM: the sharpness as a term of its own weight."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State


class WSAM(Around):
    """With g = ∇L_B(w), g_s = ∇L_B(w + ε) and α = γ / (1 − γ):  w ← base(w, g) − lr · α · (g_s − g).

    Yue et al., KDD 2023, arXiv 2305.15817, algorithm 1: the loss plus α times its sharpness L(w + ε) − L(w), with the
    sharpness decoupled, which means outside of the base's momentum and moments, as AdamW's decay. With
    `decouple=false` all of it goes through the base, w ← base(w, g + α (g_s − g)). There γ = 1/2 is the perturbed
    optimiser itself, bit for bit; with plain SGD it is so decoupled as well, to rounding. γ = 0 is the base and so is
    ρ = 0, bit for bit. γ above 1/2 weighs sharpness more than SAM does.

    Read in the authors' code (atorch, `WeightedSAM`), whose clipping is of both gradients; here the base clips what it
    is given, and what is decoupled is not clipped. Two gradient evaluations a step.
    """

    ascent: Perturbed = key("sam", "the perturbation ε, with its base optimiser", "Yue et al. 2023")
    gamma: float = key(
        0.9, "γ, weight of the sharpness, which counts γ / (1 − γ) times", "the authors' code", ge=0.0, le=0.999
    )
    decouple: bool = key(True, "the sharpness past the base's momentum and moments", "Yue et al. 2023")

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """The base's step and the sharpness's."""
        alpha = self.gamma / (1 - self.gamma)
        gradient_P = oracle(theta_P)
        sharp_P = oracle(theta_P + self.ascent.ascend(theta_P, gradient_P, oracle))
        if not self.decouple:  # by lerp, which at α = 1 gives g_s to the last bit
            return self.base_optimizer.follow(theta_P, state, torch.lerp(gradient_P, sharp_P, alpha), oracle, lr)
        new_P, state = self.base_optimizer.follow(theta_P, state, gradient_P, oracle, lr)
        return new_P - lr * alpha * (sharp_P - gradient_P), state
