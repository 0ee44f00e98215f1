"""Mixup: convex combinations of pairs of samples and their targets.

Shapes: T local steps, B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws


class Mixup(Augment):
    """x ← λ x + (1 − λ) x', y ← λ y + (1 − λ) y', with λ ~ Beta(a, a) for each sample and a partner x' from a permutation of the batch.

    Zhang et al., ICLR 2018, eq. 2; after crop and flip, as in Caldarola et al. 2022 (whose code draws one λ for a batch).
    """

    mixup_alpha: float = key(1.0, "a, parameter of the Beta distribution", "Caldarola et al. 2022", gt=0.0)
    first: Augment = key("crop_flip", "augmentation that comes before", "Caldarola et al. 2022")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, image: tuple[int, int]) -> Draws:
        """λ and partners, and the draws of what comes before. A valid sample's partner is valid; padding is its own."""
        before = self.first.draw(rng, count_T, batch, image)
        partner_TB = np.tile(np.arange(batch), (len(count_T), 1))
        for t, count in enumerate(count_T):
            partner_TB[t, :count] = rng.permutation(count)
        return {**before, "partner": partner_TB, "lambda": rng.beta(self.mixup_alpha, self.mixup_alpha, size=partner_TB.shape)}

    def pixels(self, images_BHWC: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """What comes before."""
        return self.first.pixels(images_BHWC, draws)

    def inputs(self, inputs_BCHW: Tensor, targets: Tensor, classes: int, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mix inputs and targets; these become probabilities [B, L]."""
        inputs_BCHW, targets = self.first.inputs(inputs_BCHW, targets, classes, draws)
        lam_B, partner_B = draws["lambda"].to(inputs_BCHW.dtype), draws["partner"]
        targets_BL = targets if targets.is_floating_point() else F.one_hot(targets, classes).to(inputs_BCHW.dtype)
        # lerp keeps the channels-last order of its arguments
        mixed_BCHW = torch.lerp(inputs_BCHW[partner_B], inputs_BCHW, lam_B[:, None, None, None])
        return mixed_BCHW, torch.lerp(targets_BL[partner_B], targets_BL, lam_B[:, None])
