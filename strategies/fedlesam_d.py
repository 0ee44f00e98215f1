"""FedLESAM-D: FedLESAM with FedDyn's duals."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import State
from fedsam.strategies.feddyn import FedDyn
from fedsam.strategies.fedlesam import LESAM


class FedLESAMD(LESAM, FedDyn):
    """FedDyn, with every gradient at w + ε of FedLESAM.

    Fan et al., ICML 2024, algorithm 1. ρ = 0 is FedDyn.
    """

    client_state: ClassVar[tuple[str, ...]] = ("dual", "previous")

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """What FedDyn keeps and sends, and the model that was sent."""
        client_state, uploads = super().finish(theta_P, client)
        return {**client.state, **client_state}, uploads
