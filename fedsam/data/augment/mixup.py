"""Mixup: convex combinations of pairs of samples and of their targets.

Shapes: T local steps, B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws

if TYPE_CHECKING:
    from fedsam.data.augment.keys import AugmentKeys
    from fedsam.data.spec import Spec
else:
    AugmentKeys = object


class Mixup(Augment, AugmentKeys):
    """Each sample and its one-hot target are mixed with those of a partner in the same batch.

        x ← λ x + (1 − λ) x',   y ← λ y + (1 − λ) y',   λ ~ Beta(a, a)

    Zhang et al., ICLR 2018, eq. 2; after crop and flip, as in Caldarola et al. 2022. The partners are a permutation of
    the batch. λ is drawn for each sample; the code of both papers draws one for a batch.
    """

    requires = frozenset({"classes", "single labels"})

    mixup_alpha: float = key(1.0, "a, parameter of the Beta distribution of λ", "Caldarola et al. 2022", gt=0.0, le=1e6)
    mixup_after: Augment = key("crop_flip", "augmentation that comes before the mixing", "Caldarola et al. 2022")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """Partners and λ, and the draws of what comes before. A valid sample's partner is valid, padding is its own."""
        before = self.mixup_after.draw(rng, count_T, batch, shape)
        steps = (len(count_T), batch)
        # sorted by a random number below 1, the valid samples are permuted; padding, at 1, keeps its place behind them
        order_TB = np.where(np.arange(batch) < count_T[:, None], rng.random(steps), 1.0)
        partner_TB = np.argsort(order_TB, axis=1, kind="stable")
        lambda_TB = rng.beta(self.mixup_alpha, self.mixup_alpha, size=steps)
        return {**before, "mixup_partner": partner_TB, "mixup_lambda": lambda_TB}

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before."""
        return self.mixup_after.stored(inputs, targets, draws)

    def prepared(self, inputs: Tensor, targets: Tensor, spec: Spec, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before, then the mixing; targets become probabilities [B, L]."""
        inputs, targets = self.mixup_after.prepared(inputs, targets, spec, draws)
        lambda_B = draws["mixup_lambda"].to(inputs.dtype)
        # a client without this step repeats its last one, perhaps cut short: its partners may lie outside, for nothing
        partner_B = draws["mixup_partner"].clamp(max=len(inputs) - 1)
        if not targets.is_floating_point():
            targets = (targets[:, None] == torch.arange(spec.classes or 0, device=targets.device)).to(inputs.dtype)
        mixed = torch.lerp(inputs[partner_B], inputs, lambda_B.view(-1, *[1] * (inputs.dim() - 1)))
        return mixed, torch.lerp(targets[partner_B], targets, lambda_B[:, None])
