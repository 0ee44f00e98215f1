"""FedYogi: adaptive steps of the server, whose second moment grows and shrinks by the size of the update alone."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.strategies.fedadagrad import FedAdagrad


class FedYogi(FedAdagrad):
    """v ← v − (1 − β₂) Δ² sign(v − Δ²), else as FedAdagrad.

    Reddi et al., ICLR 2021, algorithm 2.
    """

    beta2: float = key(0.99, "β₂, decay of the squares", "Reddi et al. 2021", ge=0.0, lt=1.0)

    def square(self, square_P: Tensor, delta_P: Tensor) -> Tensor:
        """v after an update."""
        new_P = delta_P.square()
        return square_P - (1 - self.beta2) * new_P * torch.sign(square_P - new_P)
