"""Poisson sampling."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.rng import stream
from fedsam.system.sampling.base import Drawn, Population, Sampling


class Poisson(Sampling):
    """Each client independently with probability `cohort` / N, so that a round has `cohort` clients on average, and may
    have none; the sampling of McMahan et al., ICLR 2018, by which differential privacy costs least.
    """

    bounded: ClassVar[bool] = True
    poisson: ClassVar[bool] = True

    def draw(self, population: Population) -> Drawn:
        """Keyed by the round."""
        rng = stream(population.seed, "cohort", population.round)
        return Drawn(np.flatnonzero(rng.random(population.clients) < population.cohort / population.clients).tolist())
