"""Random scale, crop and horizontal flip.

Shapes: T local steps, B batch, H height, W width, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws
from fedsam.data.masks import are_masks, outside
from fedsam.errors import InputError

ONE = 256  # places are whole numbers of so many parts of a pixel, so that every engine finds the same bytes


class ScaleCrop(Augment):
    """Enlarge or shrink an image by a factor s, log-uniform, cut H x W of it or put it on H x W zeros, at a uniform
    offset, and mirror it left to right with probability 1/2. So pixel i of a row comes from the place

        (i + 1/2 + u (s W − W)) / s − 1/2,   u uniform from 0 to 1

    of the row, rounded to 1/256 of a pixel, by bilinear interpolation. A mask moves with its image and takes the
    nearest pixel; what lies outside has no label.

    Factors from 1/2 to 2 and mirroring: PSPNet's in mmsegmentation, after Zhao et al., CVPR 2017, which could not be
    read; FedDrive's code has factors from 0.5 to 1.5 for Cityscapes and to 2 for IDDA.
    """

    requires = frozenset({"images"})

    scale_least: float = key(0.5, "smallest factor", "mmsegmentation, PSPNet", gt=0.0, le=64.0)
    scale_most: float = key(2.0, "largest factor", "mmsegmentation, PSPNet", gt=0.0, le=64.0)

    def model_post_init(self, context: object) -> None:
        """Refuse factors in the wrong order."""
        super().model_post_init(context)
        if self.scale_least > self.scale_most:
            raise InputError("scale_least", self.scale_least, f"must be at most scale_most = {self.scale_most:g}")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """The place of each row and column of each image, in 1/256 of a pixel."""
        steps = (len(count_T), batch)
        factor_TB1 = np.exp(rng.uniform(np.log(self.scale_least), np.log(self.scale_most), size=steps))[..., None]
        offset_TB2, mirror_TB = rng.random((*steps, 2)), rng.random(steps) < 0.5
        down, across = (
            (np.arange(side) + 0.5 + offset_TB2[..., axis, None] * (factor_TB1 - 1) * side) / factor_TB1 - 0.5
            for axis, side in enumerate(shape[:2])
        )
        across = np.where(mirror_TB[..., None], across[..., ::-1], across)
        return {
            name: np.rint(ONE * at).astype(np.int32) for name, at in (("scale_down", down), ("scale_across", across))
        }

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Rows first, then columns: two gathers of each, and their mean by distance; masks by one gather of pixels."""
        batch, height, width, channels = inputs.shape
        device = inputs.device
        down_BH, across_BW = draws["scale_down"], draws["scale_across"]
        inside_BHW = _inside(down_BH, height)[:, :, None] & _inside(across_BW, width)[:, None, :]
        first_B1 = torch.arange(batch, device=device)[:, None]
        rows = inputs.reshape(batch * height, width * channels)
        taller = _mixed(rows, first_B1 * height, down_BH, height).reshape(batch * height, width, channels)
        first_N1 = torch.arange(batch * height, device=device)[:, None]
        across_NW = across_BW[:, None, :].expand(batch, height, width).reshape(-1, width)
        found = _mixed(taller.reshape(-1, channels), first_N1 * width, across_NW, width)
        moved = torch.where(inside_BHW[..., None], found.reshape(inputs.shape), 0).to(inputs.dtype)
        if are_masks(inputs, targets):
            nearest = (_nearest(down_BH, height) + first_B1 * height)[:, :, None] * width
            places_N = (nearest + _nearest(across_BW, width)[:, None, :]).reshape(-1)
            chosen = targets.reshape(-1).index_select(0, places_N).reshape(targets.shape)
            targets = torch.where(inside_BHW, chosen, outside(targets)).to(targets.dtype)
        return moved, targets


def _inside(at: Tensor, side: int) -> Tensor:
    """Whether the nearest pixel of a place is one of the image's."""
    return (at >= -ONE // 2) & (at < side * ONE - ONE // 2)


def _nearest(at: Tensor, side: int) -> Tensor:
    return ((at + ONE // 2) // ONE).clamp(0, side - 1).long()


def _mixed(lines: Tensor, first: Tensor, at: Tensor, side: int) -> Tensor:
    """Of each place the mean, rounded, of the two lines that it lies between, int32 [places, ...].

    Args:
        lines: [lines, ...], those of one image after the other.
        first: the first of each image, [images, 1].
        at: places, [images, places of each].
        side: lines of an image.
    """
    lower = at // ONE
    places = ((lower + more).clamp(0, side - 1).long() + first for more in (0, 1))
    one, two = (lines.index_select(0, place.reshape(-1)).int() for place in places)
    share = (at - ONE * lower).reshape(-1, *[1] * (lines.dim() - 1))
    return (one * (ONE - share) + two * share + ONE // 2) // ONE
