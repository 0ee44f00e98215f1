"""DP-FedAvg with a clip that follows a quantile of the updates' lengths."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.transforms.base import State, Terms
from fedsam.transforms.gaussian import Gaussian

WITHIN = "within the clip"


class AdaptiveGaussian(Gaussian):
    """As `gaussian`, with C at first `clip`, and after each round, by b_k = 1 where ‖delta_k‖ ≤ C, else 0,

        b = 1/2 + (1/m) (Σ_S (b_k − 1/2) + N(0, σ_b²)),    C ← C exp(−η (b − γ))

    The noise of the updates is z_Δ C with z_Δ = (z^−2 − (2 σ_b)^−2)^(−1/2), so that both releases together are one
    with the multiplier z; σ_b = `count_noise` · m. Andrew et al., NeurIPS 2021, algorithm 1 and theorem 1.
    """

    clip: float = key(0.1, "C at first", "Andrew et al. 2021", gt=0.0, le=LARGE)
    quantile: float = key(
        0.5, "γ, share of the updates that are to be within the clip", "Andrew et al. 2021", ge=0, le=1
    )
    clip_lr: float = key(0.2, "η, learning rate of the clip's logarithm", "Andrew et al. 2021", ge=0.0, le=100.0)
    count_noise: float = key(
        0.05,
        "σ_b / m, noise of the count of updates within the clip, over the cohort",
        "Andrew et al. 2021",
        gt=0.0,
        le=LARGE,
    )

    def init(self, like: Tensor) -> State:
        """C."""
        return {"clip": like.new_full((1,), self.clip, dtype=torch.float64)}

    def bound(self, state: State, like: Tensor) -> Tensor:
        """C."""
        return state["clip"]

    def factor(self, delta: Tensor, sent: Tensor) -> tuple[Tensor, State]:
        """As `gaussian`, and b_k − 1/2."""
        factor, _ = super().factor(delta, sent)
        norm = torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
        return factor, {WITHIN: (norm <= sent[0]).to(delta) - 0.5}

    def deviation(self, terms: Terms) -> float:
        """z_Δ.

        Raises:
            InputError: the count alone would tell more than z allows.
        """
        if not terms.noise:
            return 0.0
        rest = terms.noise**-2 - (2 * self.count_noise * terms.sampled.cohort) ** -2
        if rest <= 0:
            least = terms.noise / (2 * terms.sampled.cohort)
            allowed = f"must be above {least:.4g} for a noise multiplier of {terms.noise:.4g} and this cohort"
            raise InputError("privacy.count_noise", self.count_noise, allowed)
        return 1 / math.sqrt(rest)

    def server(
        self, delta_P: Tensor, came: int, told: State, state: State, terms: Terms, rng: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Δ, and the next C."""
        delta_P, _ = super().server(delta_P, came, told, state, terms, rng)
        cohort = terms.sampled.cohort
        count = told[WITHIN].double() if came else torch.zeros_like(state["clip"])
        count = count + (self.count_noise * cohort * float(rng.standard_normal()) if terms.noise else 0.0)
        share = 0.5 + count / cohort
        return delta_P, {"clip": state["clip"] * torch.exp(-self.clip_lr * (share - self.quantile))}
