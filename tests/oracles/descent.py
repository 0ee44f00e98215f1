"""The base optimisers: torch.optim's own and those beside this file, given the gradients; clipping by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles.lion import Lion
from tests.oracles.muon import Muon


class Descent:
    """torch.optim.SGD, torch.optim.AdamW, Lion or Muon over a list of tensors.

    clip: g ← g · min(1, clip_norm / ‖g‖₂), one norm over all tensors, before weight decay (Pascanu et al., ICML 2013,
    algorithm 1). `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm and is no oracle.
    """

    def __init__(self, kind: str, weights: list[Tensor], clip_norm: float | None = None, **settings: Any) -> None:
        self.parameters = [nn.Parameter(w.clone()) for w in weights]
        if kind in ("AdamW", "Muon"):
            settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
            settings["eps"] = settings.pop("epsilon")
            settings.setdefault("weight_decay", 0.0)  # torch's default is 0.01
        if kind in ("AdamW", "SGD"):
            settings["foreach"] = False
        kinds: dict[str, Any] = {"AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD, "Lion": Lion, "Muon": Muon}
        self.optimizer = kinds[kind](self.parameters, lr=1.0, **settings)
        self.clip_norm = clip_norm
        self.times_clipped = 0

    @property
    def weights(self) -> list[Tensor]:
        """The present weights."""
        return [p.detach().clone() for p in self.parameters]

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One step along these gradients."""
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        if self.clip_norm is not None and norm > self.clip_norm:
            gradients = [g * self.clip_norm / norm for g in gradients]
            self.times_clipped += 1
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        self.optimizer.param_groups[0]["lr"] = lr
        with torch.enable_grad():
            self.optimizer.step()
