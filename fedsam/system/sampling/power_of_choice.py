"""Power-of-choice: the clients with the largest losses among some."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.config import key
from fedsam.rng import stream
from fedsam.system.sampling.base import Drawn, Population, Sampling


class PowerOfChoice(Sampling):
    """d candidates without replacement, client k with probability n_k / Σ n among those that are left; of these the
    `cohort` on whose training examples the global model has the largest mean loss, each of the same weight.

    Cho, Wang and Joshi, AISTATS 2022, section 3.1 (π_pow-d). Candidates are sent the model, which is counted. Of equal
    losses the client with the smaller number goes first.
    """

    by_loss: ClassVar[bool] = True

    candidates: int | None = key(
        None, "d, candidates of a round; none = twice the cohort", "Cho et al. 2022: d from m to N", ge=1
    )

    def draw(self, population: Population) -> Drawn:
        """Keyed by the round."""
        sizes_N = population.sizes()
        rng = stream(population.seed, "cohort", population.round)
        wanted = max(population.cohort, self.candidates or 2 * population.cohort)
        most = min(wanted, int((sizes_N > 0).sum()))
        ids = np.sort(rng.choice(population.clients, size=most, replace=False, p=sizes_N / sizes_N.sum()))
        order = np.argsort(-population.losses(ids.tolist()), kind="stable")
        chosen = sorted(ids[order[: population.cohort]].tolist())
        return Drawn(chosen, dict.fromkeys(chosen, 1), most)
