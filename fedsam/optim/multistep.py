"""Multistep SAM: several steps of ascent on one mini-batch, and one step of descent."""

from __future__ import annotations

from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, Perturbed, State


class Multistep(Around):
    """From φ'₀ = w, for i = 1 ... k on the same mini-batch, and then one step of the base:

        φ'_i = φ'_{i−1} + ε(φ'_{i−1}, ∇L_B(φ'_{i−1})),   w ← base(w, ∇L_B(φ'_k))

    The baseline of Mordido et al., ICML 2024: Lookbehind's ascent, up to kρ from w, without its k descents and without
    the interpolation. (Foret et al., ICLR 2021, appendix, climb k times within one radius; here the radius is each
    step's.) k + 1 gradient evaluations a step. k = 1 is the perturbed optimiser, ρ = 0 the base, bit for bit.
    """

    ascent: Perturbed = key(
        "sam", "the perturbation of each ascent step, with its base optimiser", "Mordido et al. 2024"
    )
    k: int = key(2, "steps of ascent on each mini-batch", "as of lookbehind, with which it is compared", ge=1, le=1000)

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the perturbed one."""
        return self.ascent.base_optimizer

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """k steps of ascent and the base's step."""
        perturbed_P = theta_P
        for _ in range(self.k):
            perturbed_P = perturbed_P + self.ascent.ascend(perturbed_P, oracle(perturbed_P), oracle)
        return self.base_optimizer.follow(theta_P, state, oracle(perturbed_P), oracle, lr)
