"""FedGAMMA: SCAFFOLD with clients that take their gradient at a perturbed point."""

from __future__ import annotations

from fedsam.optim.base import ClientOptimizer, must_perturb
from fedsam.strategies.scaffold import Scaffold


class FedGAMMA(Scaffold):
    """Clients descend along ∇L_B(w + ε) − c_k + c, ε made of the plain gradient; the rest is SCAFFOLD's.

    Dai et al., IEEE TNNLS 2023, "FedGAMMA: Federated Learning With Global Sharpness-Aware Minimization". ρ = 0 is
    SCAFFOLD.
    """

    def check(self, client: ClientOptimizer) -> None:
        """Clients must perturb, and step with SGD."""
        must_perturb(client, self.name)
        super().check(client)
