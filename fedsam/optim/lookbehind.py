"""Lookbehind: several steps of ascent on one mini-batch, and a step towards where they lead."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State, dot, norm


class Lookbehind(Around):
    """From φ₀ = φ'₀ = w, for i = 1 ... k on the same mini-batch, and then w ← φ₀ + α (φ_k − φ₀):

        φ'_i = φ'_{i−1} + ε(φ'_{i−1}, ∇L_B(φ'_{i−1})),   φ_i = base(φ_{i−1}, ∇L_B(φ'_i))

    Mordido et al., ICML 2024, arXiv 2307.16704. Ascent goes on from the point perturbed last, up to kρ from w, by the
    perturbation of SAM or of ASAM (whose T_w is that of the perturbed point); descent moves the un-perturbed fast
    weights φ. Momentum and moments advance k times a mini-batch and are not interpolated, as in the authors' code.

    α is a number, or adaptive: α* = (cos θ + 1) / 2, θ the angle between φ₁ − φ₀ and φ_k − φ₀, over all parameters or,
    as in the authors' code, for each parameter tensor. The cosine of a zero vector counts as 0, also as there, so
    that α* = 1/2; it matters only where the first step moved nothing and a later one did.

    k + 1 gradient evaluations a step: the gradient at φ'_i serves for the descent and for the next ascent, which the
    authors' code computes twice (2k). k = 1 with α = 1 is the perturbed optimiser itself, bit for bit.

    ρ = 0 is not the base optimiser unless k = 1 and α = 1, and not Lookahead either: φ' stays at w, so the base takes
    k steps along one and the same gradient, ∇L_B(w), before the interpolation. With plain SGD these are one step of
    α k times the learning rate.
    """

    ascent: Perturbed = key(
        "sam", "the perturbation of each ascent step, with its base optimiser", "Mordido et al. 2024"
    )
    k: int = key(
        2, "steps of ascent and descent on each mini-batch", "Mordido et al. 2024, the authors' examples", ge=1, le=1000
    )
    alpha: float | Literal["adaptive"] = key(
        "adaptive",
        "α, step towards the fast weights, above 0 and at most 1; adaptive = by the angle between first and all steps",
        "Mordido et al. 2024, the authors' examples; 0.2, 0.5, 0.8 in the paper",
    )
    per_tensor: bool = key(False, "an adaptive α for each parameter tensor, as in the authors' code", "convention")

    def model_post_init(self, context: object) -> None:
        """Refuse an α out of range, and a setting of the adaptive one that would be ignored."""
        if isinstance(self.alpha, str):
            return
        if not 0 < self.alpha <= 1:
            raise InputError("alpha", self.alpha, "must be greater than 0 and at most 1, or adaptive")
        if self.per_tensor:
            raise InputError("per_tensor", True, "needs alpha=adaptive")

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """k steps of ascent and descent, and the interpolation."""
        perturbed_P, gradient_P = theta_P, oracle(theta_P)
        first_P = fast_P = theta_P
        for i in range(self.k):
            perturbed_P = perturbed_P + self.ascent.ascend(perturbed_P, gradient_P, oracle)
            gradient_P = oracle(perturbed_P)
            fast_P, state = self.base_optimizer.follow(fast_P, state, gradient_P, oracle, lr)
            first_P = fast_P if i == 0 else first_P
        # by lerp, which at α = 1 gives φ_k to the last bit; φ₀ + (φ_k − φ₀) does not
        if not isinstance(self.alpha, str):
            return torch.lerp(theta_P, fast_P, self.alpha), state
        sizes = oracle.layout.sizes if self.per_tensor else [oracle.layout.total]
        parts = zip(*(torch.split(point_P, sizes, dim=-1) for point_P in (theta_P, first_P, fast_P)), strict=True)
        found = [torch.lerp(start, end, adaptive(first - start, end - start)) for start, first, end in parts]
        return torch.cat(found, dim=-1), state


def adaptive(first_P: Tensor, whole_P: Tensor) -> Tensor:
    """α* = (cos θ + 1) / 2 of the first step and of all steps together, [1]; 1/2 if one of them is zero."""
    norms = norm(first_P) * norm(whole_P)
    cosine = dot(first_P, whole_P) / norms.clamp(min=torch.finfo(norms.dtype).tiny)
    return (cosine.clamp(-1.0, 1.0) + 1) / 2
