"""FedLESAM-S: FedLESAM with SCAFFOLD's control variates."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.algorithm.client_hooks import Here
from fedsam.algorithm.strategy import State
from fedsam.optim.base import ClientOptimizer
from fedsam.strategies.fedlesam import LESAM
from fedsam.strategies.scaffold import Scaffold


class FedLESAMS(LESAM, Scaffold):
    """SCAFFOLD, with every gradient at w + ε of FedLESAM.

    Fan et al., ICML 2024, algorithm 1. ρ = 0 is SCAFFOLD.
    """

    rowwise = True

    slots: ClassVar[tuple[str, ...]] = ("control", "previous")

    def check(self, client: ClientOptimizer) -> None:
        """Clients must not perturb, and step with SGD."""
        LESAM.check(self, client)
        Scaffold.check(self, client)

    def finish(self, theta_P: Tensor, here: Here) -> tuple[State, State]:
        """What SCAFFOLD keeps and sends, and the model that was sent."""
        slot, uploads = super().finish(theta_P, here)
        return {**here.slot, **slot}, uploads
