"""FedSWA: a learning rate that falls within every round, and a long step of the server."""

from __future__ import annotations

from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.config import LARGE, key
from fedsam.strategies.fedavg import FedAvg


class FedSWA(FedAvg):
    """Step t, from 0, of a client's K has the learning rate lr (1 − t/K) + (t/K) ρ lr;  server: w ← w + α Σ p_k Δ_k.

    Liu et al., ICML 2025, algorithm 1, with `decay` for its ρ and `lr` for its α. ρ = 1 and α = 1 is FedAvg.
    """

    lr: float = key(1.5, "α, server learning rate", "Liu et al. 2025", gt=0.0, le=LARGE)
    decay: float = key(
        0.1, "ρ, to which share of itself the learning rate falls in a round", "Liu et al. 2025", ge=0.0, le=LARGE
    )

    def rate(self, t: int, client: ClientContext) -> Tensor | float:
        """The learning rate of step t."""
        share = t / client.steps
        return client.lr * (1 - share) + share * self.decay * client.lr
