"""Label smoothing: targets that leave some probability to every class.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws


class Smoothing(Augment):
    """The targets of training batches are mixed with a uniform distribution; images are left to what comes before.

        over `all` L classes:       y ← (1 − ε) y + ε / L
        over the `other` L − 1:     y ← (1 − ε) y + ε (1 − y) / (L − 1)

    Szegedy et al., CVPR 2016, section 7, and torch's `cross_entropy(label_smoothing=ε)` take all classes, the code of
    Zhou et al. 2025 the others; `other` with ε is `all` with ε L / (L − 1). Targets that are probabilities already, of
    mixup, are smoothed alike. Losses of training are then those of the smoothed targets; evaluation never smooths.
    """

    label_smoothing: float = key(0.1, "ε, probability taken from the label", "Zhou et al. 2025, their code", ge=0, lt=1)
    smoothing_over: Literal["all", "other"] = key(
        "all", "the classes that ε is spread over: all of them, or the others", "Szegedy et al. 2016"
    )
    smoothing_after: Augment = key("crop_flip", "augmentation that comes before it", "Zhou et al. 2025, their code")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, image: tuple[int, int]) -> Draws:
        """The draws of what comes before."""
        return self.smoothing_after.draw(rng, count_T, batch, image)

    def pixels(self, images_BHWC: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """What comes before."""
        return self.smoothing_after.pixels(images_BHWC, draws)

    def inputs(
        self, inputs_BCHW: Tensor, targets: Tensor, classes: int, draws: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What comes before, then the smoothing; targets become probabilities [B, L]."""
        inputs_BCHW, targets = self.smoothing_after.inputs(inputs_BCHW, targets, classes, draws)
        if not targets.is_floating_point():
            targets = (targets[:, None] == torch.arange(classes, device=targets.device)).to(inputs_BCHW.dtype)
        share = self.label_smoothing
        if self.smoothing_over == "other":
            share *= classes / max(classes - 1, 1)
        return inputs_BCHW, (1 - share) * targets + share / classes
