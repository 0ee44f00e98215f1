"""FedProx: clients are held near the model they were sent."""

from __future__ import annotations

from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.config import LARGE, key
from fedsam.strategies.fedavg import FedAvg


class FedProx(FedAvg):
    """Clients descend along g + μ (w − w_sent), the gradient of their loss + μ/2 ‖w − w_sent‖²; the server is FedAvg's.

    Li et al., MLSys 2020, algorithm 2. With a client that perturbs, only the descent is corrected. μ = 0 is FedAvg.
    """

    mu: float = key(0.01, "μ, weight of the proximal term", "Li et al. 2020, who try 0.001 to 1", ge=0.0, le=LARGE)

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g + μ (w − w_sent)."""
        return gradient_P + self.mu * (theta_P - client.sent_P)
