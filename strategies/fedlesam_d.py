"""FedLESAM-D: FedLESAM with FedDyn's duals."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.algorithm.client_hooks import Here
from fedsam.algorithm.strategy import State
from fedsam.strategies.feddyn import FedDyn
from fedsam.strategies.fedlesam import LESAM


class FedLESAMD(LESAM, FedDyn):
    """FedDyn, with every gradient at w + ε of FedLESAM.

    Fan et al., ICML 2024, algorithm 1. ρ = 0 is FedDyn.
    """

    rowwise = True

    slots: ClassVar[tuple[str, ...]] = ("dual", "previous")

    def finish(self, theta_P: Tensor, here: Here) -> tuple[State, State]:
        """What FedDyn keeps and sends, and the model that was sent."""
        slot, uploads = super().finish(theta_P, here)
        return {**here.slot, **slot}, uploads
