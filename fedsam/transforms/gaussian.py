"""DP-FedAvg: clipped updates, and Gaussian noise in their mean.

Shapes: P parameters.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.transforms import accountant
from fedsam.transforms.accountant import Sampled
from fedsam.transforms.base import Privacy, State, Terms, normal


class Gaussian(Privacy):
    """With m clients in a round (on average) and S of them delivering, all of the same weight:

        clipped_k = delta_k · min(1, C / ‖delta_k‖)
        Δ = (1/m) (Σ_S clipped_k + N(0, (z C)² I))

    McMahan et al., ICLR 2018, algorithm 1 with the estimator of a fixed denominator and flat clipping. With
    `noise_by=clients` each client adds N(0, (z C)² / m · I) to its clipped update, and the server what is missing where
    fewer than m deliver: the noise of the sum is the same, and no single update is seen without noise. Epsilon is that
    of what the server publishes, see `fedsam.transforms.accountant`; losses and metrics in records are not private.
    """

    clip: float = key(
        0.5, "C, the largest length of a client's update", "of no paper; depends on the model", gt=0.0, le=LARGE
    )
    noise_multiplier: float | None = key(
        None,
        "z, standard deviation of the noise in the sum over the clip; none = 1, or what privacy.epsilon needs",
        "McMahan et al. 2018",
        ge=0.0,
        le=accountant.MOST,
    )
    epsilon: float | None = key(
        None, "target: epsilon after the last round, instead of privacy.noise_multiplier", "off", gt=0.0, le=1e6
    )
    delta: float | None = key(
        None, "delta of the guarantee; none = 1 / N^1.1 for N clients", "McMahan et al. 2018", gt=0.0, lt=1.0
    )
    noise_by: Literal["server", "clients"] = key("server", "who adds the noise", "McMahan et al. 2018")

    def model_post_init(self, context: object) -> None:
        """Refuse noise that is given twice."""
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise InputError("epsilon", self.epsilon, "and privacy.noise_multiplier decide the same; leave one out")

    @property
    def dense(self) -> bool:
        """Whether clients add the noise."""
        return self.noise_by == "clients"

    def check(self) -> None:
        """Refuse to go on without the accountant."""
        if not accountant.available():
            raise InputError("name", self.name, accountant.MISSING)

    def sent(self, state: State, terms: Terms, like: Tensor) -> Tensor:
        """C, and the standard deviation of a client's noise."""
        clip = self.bound(state, like)
        deviation = self.deviation(terms) * clip / math.sqrt(terms.sampled.cohort)
        return torch.cat([clip, deviation if self.dense else torch.zeros_like(clip)]).to(like)

    def bound(self, state: State, like: Tensor) -> Tensor:
        """C in this round, float64 [1] on the device of `like`, which is not waited for."""
        return like.new_full((1,), self.clip, dtype=torch.float64)

    def factor(self, delta: Tensor, sent: Tensor) -> tuple[Tensor, State]:
        """min(1, C / ‖delta‖)."""
        norm = torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
        return torch.where(norm > sent[0], sent[0] / norm, torch.ones_like(norm)), {}

    def noise(self, rng: np.random.Generator, total: int, sent: Tensor) -> Tensor:
        """N(0, (z C)² / m · I)."""
        return sent[1] * normal(rng, total, sent)

    def server(
        self, delta_P: Tensor, came: int, told: State, state: State, terms: Terms, rng: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Δ, with the noise that clients have not added."""
        cohort = terms.sampled.cohort
        missing = max(0.0, 1.0 - came / cohort) if self.dense else 1.0
        deviation = math.sqrt(missing) * self.deviation(terms) * self.bound(state, delta_P) / cohort
        return came / cohort * delta_P + deviation.to(delta_P) * normal(rng, len(delta_P), delta_P), state

    def deviation(self, terms: Terms) -> float:
        """Of the noise in the sum of updates, over the clip."""
        return terms.noise

    def multiplier(self, rounds: int, sampled: Sampled) -> float:
        """z as given, or the smallest that is enough."""
        if self.epsilon is None:
            return 1.0 if self.noise_multiplier is None else self.noise_multiplier
        return accountant.multiplier_for(self.epsilon, rounds, sampled, self._delta(sampled))

    def spent(self, rounds: int, terms: Terms) -> float | None:
        """Of `rounds` times the sampled Gaussian mechanism."""
        return accountant.epsilon_of(terms.noise, rounds, terms.sampled, self._delta(terms.sampled))

    def _delta(self, sampled: Sampled) -> float:
        return sampled.clients**-1.1 if self.delta is None else self.delta
