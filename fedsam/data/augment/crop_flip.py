"""Random crop and horizontal flip.

Shapes: T local steps, B batch, H height, W width, C channels; N = B H W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws
from fedsam.data.masks import are_masks, outside


class CropFlip(Augment):
    """Pad with zero bytes, cut H x W at a uniform offset, and mirror left to right with probability 1/2.

    Torchvision's RandomCrop(H, padding) and RandomHorizontalFlip, before normalisation (Caldarola et al. 2022). A mask
    is cut and mirrored as its image is; what was padded has no label.
    """

    requires = frozenset({"images"})

    crop_padding: int = key(4, "pixels of padding on each side before the cut", "Caldarola et al. 2022", ge=0, le=512)

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """Offsets of the cut, down and across, from 0 to 2 `crop_padding`, and which images are mirrored."""
        shape = (len(count_T), batch)
        offsets_TB2 = rng.integers(2 * self.crop_padding + 1, size=(*shape, 2))
        return {"crop_offset": offsets_TB2, "crop_mirror": rng.random(shape) < 0.5}

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cut and mirror: one gather of whole pixels from the padded images, and one from masks."""
        batch, height, width, channels = inputs.shape
        pad, device = self.crop_padding, inputs.device
        padded = F.pad(inputs, (0, 0, pad, pad, pad, pad))
        across_W = torch.arange(width, device=device)
        rows_BH = draws["crop_offset"][:, :1] + torch.arange(height, device=device)
        columns_BW = draws["crop_offset"][:, 1:] + torch.where(
            draws["crop_mirror"][:, None], width - 1 - across_W, across_W
        )
        # of the formulations measured (advanced indexing, gather, windows, words of 4 bytes) the fastest without vmap,
        # and under it as fast as a gather
        rows_BH = rows_BH + (torch.arange(batch, device=device) * (height + 2 * pad))[:, None]
        places_BHW = (rows_BH * (width + 2 * pad))[:, :, None] + columns_BW[:, None, :]
        places_N = places_BHW.reshape(-1)
        if are_masks(inputs, targets):
            wide = F.pad(targets, (pad, pad, pad, pad), value=outside(targets))
            targets = wide.reshape(-1).index_select(0, places_N).reshape(targets.shape)
        cut_NC = padded.reshape(-1, channels).index_select(0, places_N)
        return cut_NC.reshape(batch, height, width, channels), targets
