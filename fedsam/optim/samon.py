"""SAM-ON: SAM that perturbs normalisation layers only."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.optim.base import Perturbed, norm
from fedsam.params import Layout


class SAMON(Perturbed):
    """ε = ρ · g_N / (‖g_N‖₂ + 1e-16), g_N the gradient with zeros outside of the normalisation layers.

    Mueller et al., NeurIPS 2023, arXiv 2306.04226: γ and β of batch, layer, group and instance normalisation are the
    only parameters that are perturbed; all are trained. The norm goes over the perturbed ones, as in the authors' code.
    `layers=others` is their ablation, which perturbs everything else. Theirs goes by names with "norm" or "bn", here it
    is the class of the layer that counts. Only their SAM-ON is here, not its ASAM variants; their radii are larger than
    SAM's, as few numbers share one. A model without such layers is refused. ρ = 0 is the base optimiser, bit for bit.
    """

    rho: float = key(0.5, "ρ, radius of the ascent step", "the authors' code", ge=0.0, le=LARGE)
    layers: Literal["norm", "others"] = key(
        "norm", "which are perturbed: those that normalise, or all others", "Mueller et al. 2023"
    )

    def check_model(self, layout: Layout) -> None:
        """Refuse a model of which nothing would be perturbed.

        Raises:
            InputError: it has no parameters in normalisation layers, or for `layers=others` no others.
        """
        if not self._chosen(layout):
            kind = "no layers that normalise" if self.layers == "norm" else "only layers that normalise"
            raise InputError("name", self.name, f"this model has {kind}, so nothing would be perturbed; use sam")

    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        """ε, [P]."""
        mask_P = layout.where(self._chosen(layout), gradient_P.device)
        gradient_P = torch.where(mask_P, gradient_P, 0.0)
        factor: Tensor = (norm(gradient_P) + 1e-16).reciprocal() * self.rho
        return gradient_P * factor

    def _chosen(self, layout: Layout) -> set[str]:
        norms = set(layout.norms)
        return norms if self.layers == "norm" else set(layout.names) - norms
