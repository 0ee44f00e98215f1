"""Cutout: a square hole in each image.

Shapes: T local steps, B batch, C channels, H height, W width.
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


class Cutout(Augment, AugmentKeys):
    """A square of `cutout_size` pixels around a uniform centre, clipped at the border, is set to 0 after normalisation.

    DeVries and Taylor, arXiv 1708.04552, 2017, section 3; after crop and flip, as in Caldarola et al. 2022. A size s
    covers the rows and columns from centre − s // 2 to centre − s // 2 + s − 1.
    """

    requires = frozenset({"images"})

    cutout_size: int = key(16, "side of the hole in pixels", "Caldarola et al. 2022", ge=1, le=4096)
    cutout_after: Augment = key("crop_flip", "augmentation that comes before the hole", "Caldarola et al. 2022")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """Centres of the holes, and the draws of what comes before."""
        before = self.cutout_after.draw(rng, count_T, batch, shape)
        return {**before, "cutout_centre": rng.integers(shape[:2], size=(len(count_T), batch, 2))}

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before."""
        return self.cutout_after.stored(inputs, targets, draws)

    def prepared(self, inputs: Tensor, targets: Tensor, spec: Spec, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before, then the holes."""
        inputs, targets = self.cutout_after.prepared(inputs, targets, spec, draws)
        begin_B2 = draws["cutout_centre"] - self.cutout_size // 2
        inside = []
        for axis, length in enumerate(inputs.shape[2:]):
            place = torch.arange(length, device=inputs.device) - begin_B2[:, axis, None]
            inside.append((place >= 0) & (place < self.cutout_size))
        hole_B1HW = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
        # normalised bytes are finite, so a product is safe; a selection takes three times as long
        return inputs * ~hole_B1HW, targets
