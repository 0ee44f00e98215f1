"""ASAM: adaptive sharpness-aware minimisation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.optim.base import Perturbed, norm
from fedsam.params import Layout


class ASAM(Perturbed):
    """ε = ρ · T_w² g / (‖T_w g‖₂ + 1e-16), with one norm over all parameters.

    Kwon et al., ICML 2021, eqs. 4 and 5, in one of two scalings whose radii are not interchangeable:

    - `weights`: T_w = |w| + η on tensors whose name contains "weight", 1 elsewhere (the authors' code; FedASAM);
    - `all`: T_w = |w| on every tensor (the popular re-implementation). There a layer multiplied by c and the next one
      by 1/c change nothing.

    ρ = 0 is the base optimiser, bit for bit.
    """

    rho: float = key(
        0.7,
        "ρ, radius of the ascent step in scaled coordinates",
        "Caldarola et al. 2022, CIFAR-10, alpha 0 and 0.05",
        ge=0.0,
        le=LARGE,
    )
    scaling: Literal["weights", "all"] = key(
        "weights", "which tensors are scaled by |w|", "Kwon et al. 2021, the authors' code"
    )
    eta: float | None = key(
        None,
        "η added to |w|; none = 0.2 with scaling=weights (scaling=all has no η)",
        "Caldarola et al. 2022",
        ge=0.0,
        le=LARGE,
    )

    def model_post_init(self, context: object) -> None:
        """Refuse an η that would be ignored."""
        if self.scaling == "all" and self.eta is not None:
            raise InputError("eta", self.eta, "scaling=all has no eta; leave it out or set scaling=weights")

    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        """ε, [P]."""
        scale_P = theta_P.abs()
        if self.scaling == "weights":
            eta = 0.2 if self.eta is None else self.eta
            scale_P = torch.where(layout.weights(theta_P.device), scale_P.add_(eta), 1.0)
        scaled_P = scale_P * gradient_P
        factor = (norm(scaled_P) + 1e-16).reciprocal() * self.rho
        # in place on what was made here: each new vector of P numbers costs as much as the product itself
        return scaled_P.mul_(scale_P).mul_(factor)
