"""Label smoothing: targets that leave some probability to every class.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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


class Smoothing(Augment, AugmentKeys):
    """The targets of training batches are mixed with a uniform distribution; images are left to what comes before.

        over `all` L classes:       y ← (1 − ε) y + ε / L
        over the `other` L − 1:     y ← (1 − ε) y + ε (1 − y) / (L − 1)

    Szegedy et al., CVPR 2016, section 7, and torch's `cross_entropy(label_smoothing=ε)` take all classes, the code of
    Zhou et al. 2025 the others; `other` with ε is `all` with ε L / (L − 1). Targets that are probabilities already, of
    mixup, are smoothed alike. Losses of training are then those of the smoothed targets; evaluation never smooths.
    """

    requires = frozenset({"classes", "single labels"})

    label_smoothing: float = key(0.1, "ε, probability taken from the label", "Zhou et al. 2025, their code", ge=0, lt=1)
    smoothing_over: Literal["all", "other"] = key(
        "all", "the classes that ε is spread over: all of them, or the others", "Szegedy et al. 2016"
    )
    smoothing_after: Augment = key("crop_flip", "augmentation that comes before it", "Zhou et al. 2025, their code")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """The draws of what comes before."""
        return self.smoothing_after.draw(rng, count_T, batch, shape)

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before."""
        return self.smoothing_after.stored(inputs, targets, draws)

    def prepared(self, inputs: Tensor, targets: Tensor, spec: Spec, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before, then the smoothing; targets become probabilities [B, L]."""
        inputs, targets = self.smoothing_after.prepared(inputs, targets, spec, draws)
        classes = spec.classes or 0
        if not targets.is_floating_point():
            targets = (targets[:, None] == torch.arange(classes, device=targets.device)).to(inputs.dtype)
        share = self.label_smoothing
        if self.smoothing_over == "other":
            share *= classes / max(classes - 1, 1)
        return inputs, (1 - share) * targets + share / classes
