"""U-Net, small, with group, batch or no normalisation.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, Norm, check_groups, normaliser


class UNet(Model):
    """Two convolutions 3×3 on each of `depth` + 1 levels, max pooling 2×2 between them on the way down; on the way up
    a convolution 1×1 that halves the channels, each pixel doubled, beside what the way down had on that level; logits
    of each pixel.

    Ronneberger, Fischer and Brox, MICCAI 2015, figure 1, which has 64 channels, depth 4 and a convolution 2×2 after
    the doubling; with padding and normalisation, so that images keep their size. 109,749 parameters as it stands, for
    three channels and 5 classes. Initialisation is torch's.
    """

    requires = frozenset({"images", "masks"})

    width: int = key(
        16, "channels of the first level; each further one has twice as many", "a quarter of 64", ge=1, le=2**16
    )
    depth: int = key(2, "levels below the first", "half of 4", ge=0, le=8)
    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(2, "groups of each GroupNorm; a divisor of model.width", "as resnet20", ge=1)

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide the width."""
        check_groups(self.norm, self.groups, self.width, "model.width")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module.

        Raises:
            InputError: an image is so small that nothing is left of it on the last level.
        """
        height, width, channels = shape
        if min(height, width) < 2**self.depth:
            told = f"needs images of at least {2**self.depth} pixels a side, these are {height}×{width}"
            raise InputError("depth", self.depth, told)
        widths = [self.width * 2**level for level in range(self.depth + 1)]
        return _UNet(channels, classes, widths, normaliser(self.norm, self.groups))


class _UNet(nn.Module):
    def __init__(self, channels: int, classes: int, widths: list[int], norm: Norm) -> None:
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_twice(one, other, norm) for one, other in zip(inputs, widths, strict=True))
        steps = list(pairwise(widths))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(lower, upper, 1) for upper, lower in steps)
        self.up = nn.ModuleList(_twice(2 * upper, upper, norm) for upper, _ in steps)
        self.out = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, L, H, W]."""
        hidden, beside = self.down[0](images_BCHW), []
        for level in self.down[1:]:
            beside.append(hidden)
            hidden = level(F.max_pool2d(hidden, 2))
        for narrow, level in zip(self.narrow, self.up, strict=True):
            own = beside.pop()
            # 1×1 and doubling commute, and there are fewer pixels before
            larger = F.interpolate(narrow(hidden), size=own.shape[2:], mode="nearest")
            hidden = level(torch.cat([own, larger], dim=1))
        logits_BLHW: Tensor = self.out(hidden)
        return logits_BLHW


def _twice(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        norm(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        norm(outputs),
        nn.ReLU(),
    )
