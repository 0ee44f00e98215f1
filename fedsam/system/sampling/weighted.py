"""Sampling by the number of examples.

Shapes: N clients.
"""

from __future__ import annotations

import numpy as np

from fedsam.rng import stream
from fedsam.system.sampling.base import Drawn, Population, Sampling


class Weighted(Sampling):
    """`cohort` draws with replacement, client k with probability n_k / Σ n; a client weighs in the mean by how often it
    was drawn, so that the mean over all draws is FedAvg's over all clients: scheme I of Li et al., ICLR 2020. A client
    that was drawn several times trains once.
    """

    def draw(self, population: Population) -> Drawn:
        """Keyed by the round."""
        sizes_N = population.sizes()
        rng = stream(population.seed, "cohort", population.round)
        drawn = rng.choice(population.clients, size=population.cohort, p=sizes_N / sizes_N.sum())
        ids, times = np.unique(drawn, return_counts=True)
        return Drawn(ids.tolist(), dict(zip(ids.tolist(), times.tolist(), strict=True)))
