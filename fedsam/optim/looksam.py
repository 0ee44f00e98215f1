"""LookSAM: SAM whose second gradient is taken in every k-th step."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State, norm
from fedsam.optim.gsam import orthogonal


class LookSAM(Around):
    """In every k-th step of a client's round w ← base(w, g_s); in the others w ← base(w, g + α (‖g‖ / ‖g_v‖) g_v).

    With g = ∇L_B(w), g_s = ∇L_B(w + ε), and g_v = g_s − (g_s·g / ‖g‖²) g, the component of g_s that is orthogonal to
    g, kept from the last step that had one (Liu et al., CVPR 2022, algorithm 1, without the layer-wise scaling of
    Look-LayerSAM). Dot product and norms go over all parameters. Steps count from 0 in each round, so a round begins
    with a step of SAM and nothing is carried over from the round before.

    Two gradient evaluations in every k-th step, one in the others. k = 1 is the perturbed optimiser itself and ρ = 0
    the base, bit for bit: there g_v is exactly zero. Otherwise g_v is normalised however short it is: a ρ so small
    that g_s and g differ by rounding alone makes α of noise.
    """

    ascent: Perturbed = key("sam", "the perturbation ε, with its base optimiser", "Liu et al. 2022")
    k: int = key(5, "steps from one with the perturbed gradient to the next", "convention", ge=1)
    alpha: float = key(0.7, "α, weight of the kept component in the other steps", "convention", ge=0.0, le=LARGE)

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def init(self, theta_P: Tensor) -> State:
        """The base's state, and a g_v of zeros that the first step replaces."""
        return {**self.base_optimizer.init(theta_P), "looksam_g_v": torch.zeros_like(theta_P)}

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step of SAM, or one along g with the kept g_v."""
        gradient_P, kept_P = oracle(theta_P), state["looksam_g_v"]
        if oracle.t % self.k == 0:
            direction_P = oracle(theta_P + self.ascent.ascend(theta_P, gradient_P, oracle))
            kept_P = orthogonal(direction_P, gradient_P)
        else:
            ratio = norm(gradient_P) / (norm(kept_P) + 1e-16)
            direction_P = gradient_P + self.alpha * ratio * kept_P
        theta_P, state = self.base_optimizer.follow(theta_P, state, direction_P, oracle, lr)
        return theta_P, {**state, "looksam_g_v": kept_P}
