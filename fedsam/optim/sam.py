"""SAM: sharpness-aware minimisation."""

from __future__ import annotations

from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.optim.base import Perturbed, norm
from fedsam.params import Layout


class SAM(Perturbed):
    """ε = ρ · g / (‖g‖₂ + 1e-16), with one norm over all parameters.

    Foret et al., ICLR 2021, eq. 2; as the client's optimiser, FedSAM (Caldarola et al., ECCV 2022). ρ = 0 is the base
    optimiser, bit for bit.
    """

    rho: float = key(
        0.1, "ρ, radius of the ascent step", "Caldarola et al. 2022, CIFAR-10, alpha 0 and 0.05", ge=0.0, le=LARGE
    )

    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        """ε, [P]."""
        factor: Tensor = (norm(gradient_P) + 1e-16).reciprocal() * self.rho
        return gradient_P * factor
