"""FedLESAM-S: FedLESAM with SCAFFOLD's control variates."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import State
from fedsam.optim.base import ClientOptimizer
from fedsam.strategies.fedlesam import LESAM
from fedsam.strategies.scaffold import Scaffold


class FedLESAMS(LESAM, Scaffold):
    """SCAFFOLD, with every gradient at w + ε of FedLESAM.

    Fan et al., ICML 2024, algorithm 1. ρ = 0 is SCAFFOLD.
    """

    client_state: ClassVar[tuple[str, ...]] = ("control", "previous")

    def check(self, client: ClientOptimizer) -> None:
        """Clients must not perturb, and step with SGD."""
        LESAM.check(self, client)
        Scaffold.check(self, client)

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """What SCAFFOLD keeps and sends, and the model that was sent."""
        client_state, uploads = super().finish(theta_P, client)
        return {**client.state, **client_state}, uploads
