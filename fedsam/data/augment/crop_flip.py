"""Random crop and horizontal flip.

Shapes: T local steps, B batch, H height, W width, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws


class CropFlip(Augment):
    """Pad with zero bytes, cut H x W at a uniform offset, and mirror left to right with probability 1/2.

    Torchvision's RandomCrop(H, padding) and RandomHorizontalFlip, before normalisation (Caldarola et al. 2022).
    """

    crop_padding: int = key(4, "pixels of padding on each side", "Caldarola et al. 2022", ge=0)

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, image: tuple[int, int]) -> Draws:
        """Offsets of the cut, and which images are mirrored."""
        shape = (len(count_T), batch)
        offsets = rng.integers(2 * self.crop_padding + 1, size=(*shape, 2))
        return {"crop": offsets, "flip": rng.random(shape) < 0.5}

    def pixels(self, images_BHWC: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """Cut and mirror."""
        batch, height, width, channels = images_BHWC.shape
        pad = self.crop_padding
        padded = F.pad(images_BHWC, (0, 0, pad, pad, pad, pad))
        down_H, across_W = torch.arange(height, device=padded.device), torch.arange(width, device=padded.device)
        rows_BH = draws["crop"][:, :1] + down_H
        columns_BW = draws["crop"][:, 1:] + torch.where(draws["flip"][:, None], width - 1 - across_W, across_W)
        places_BN = (rows_BH[:, :, None] * (width + 2 * pad) + columns_BW[:, None, :]).reshape(batch, height * width)
        pixels_BNC = padded.reshape(batch, -1, channels)
        cut = torch.gather(pixels_BNC, 1, places_BN[:, :, None].expand(-1, -1, channels))
        return cut.reshape(batch, height, width, channels)
