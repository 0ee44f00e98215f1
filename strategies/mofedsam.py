"""MoFedSAM: FedCM with clients that take their gradient at a perturbed point."""

from __future__ import annotations

from fedsam.optim.base import ClientOptimizer, must_perturb
from fedsam.strategies.fedcm import FedCM


class MoFedSAM(FedCM):
    """Clients descend along α ∇L_B(w + ε) + (1 − α) D, ε made of the plain gradient; the rest is FedCM's.

    Qu et al., ICML 2022, algorithm 2. ρ = 0 is FedCM.
    """

    def check(self, client: ClientOptimizer) -> None:
        """Clients must perturb, and step with SGD."""
        must_perturb(client, self.name)
        super().check(client)
