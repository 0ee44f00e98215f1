"""Cutout: a square hole in each image.

Shapes: T local steps, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws


class Cutout(Augment):
    """A square of size x size around a uniform centre, clipped at the border, is set to 0 after normalisation.

    DeVries and Taylor, arXiv 1708.04552, 2017; after crop and flip, as in Caldarola et al. 2022.
    """

    cutout_size: int = key(16, "side of the hole in pixels", "Caldarola et al. 2022", ge=1)
    first: Augment = key("crop_flip", "augmentation that comes before", "Caldarola et al. 2022")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, image: tuple[int, int]) -> Draws:
        """Centres of the holes, and the draws of what comes before."""
        before = self.first.draw(rng, count_T, batch, image)
        return {**before, "hole": rng.integers(image, size=(len(count_T), batch, 2))}

    def pixels(self, images_BHWC: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """What comes before."""
        return self.first.pixels(images_BHWC, draws)

    def inputs(self, inputs_BCHW: Tensor, targets: Tensor, classes: int, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cut the holes."""
        inputs_BCHW, targets = self.first.inputs(inputs_BCHW, targets, classes, draws)
        inside = []
        for axis, length in enumerate(inputs_BCHW.shape[2:]):
            begin_B1 = draws["hole"][:, axis, None] - self.cutout_size // 2
            place = torch.arange(length, device=inputs_BCHW.device)
            inside.append((place >= begin_B1) & (place < begin_B1 + self.cutout_size))
        hole_B1HW = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
        return torch.where(hole_B1HW, torch.zeros_like(inputs_BCHW), inputs_BCHW), targets
