"""Colour jitter: other light, contrast and saturation; masks stay.

Shapes: T local steps, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.augment.base import Augment, Draws
from fedsam.data.images.spec import ImageSpec

if TYPE_CHECKING:
    from fedsam.data.spec import Spec

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey, ITU-R BT.601


class ColourJitter(Augment):
    """Pixels p, from 0 to 1, of each image are changed in turn, and cut off at 0 and 1 each time:

        p ← b p,   p ← c p + (1 − c) mean(grey(p)),   p ← s p + (1 − s) grey(p)

    with b, c and s uniform around 1 within `jitter_brightness`, `jitter_contrast` and `jitter_saturation`; grey is
    0.299 R + 0.587 G + 0.114 B, of other than three channels their mean. Torchvision's ColorJitter in its first order,
    without hue; 0.4 each in the code of BiSeNetV2 that is most used (CoinCheung/BiSeNet).
    """

    requires = frozenset({"images"})

    jitter_brightness: float = key(0.4, "largest change of brightness", "CoinCheung/BiSeNet", ge=0.0, le=1.0)
    jitter_contrast: float = key(0.4, "largest change of contrast", "CoinCheung/BiSeNet", ge=0.0, le=1.0)
    jitter_saturation: float = key(0.4, "largest change of saturation", "CoinCheung/BiSeNet", ge=0.0, le=1.0)
    jitter_after: Augment = key("crop_flip", "augmentation that comes before it", "as cutout")

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """b, c and s, and the draws of what comes before."""
        before = self.jitter_after.draw(rng, count_T, batch, shape)
        most = np.array([self.jitter_brightness, self.jitter_contrast, self.jitter_saturation])
        return {**before, "jitter_factors": 1 + most * rng.uniform(-1, 1, size=(len(count_T), batch, 3))}

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before."""
        return self.jitter_after.stored(inputs, targets, draws)

    def prepared(self, inputs: Tensor, targets: Tensor, spec: Spec, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What comes before, then the three changes."""
        inputs, targets = self.jitter_after.prepared(inputs, targets, spec, draws)
        assert isinstance(spec, ImageSpec)  # it needs images
        mean, std = (_channels(each, inputs.device, inputs.dtype) for each in (spec.mean, spec.std))
        brightness, contrast, saturation = draws["jitter_factors"].to(inputs.dtype)[:, :, None, None, None].unbind(1)
        pixels = (inputs * std + mean) * brightness
        pixels = pixels.clamp(0, 1)
        pixels = _blended(pixels, _grey(pixels).mean(dim=(2, 3), keepdim=True), contrast)
        pixels = _blended(pixels, _grey(pixels), saturation)
        return (pixels - mean) / std, targets


def _blended(pixels: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * pixels + (1 - share) * other).clamp(0, 1)


def _grey(pixels_BCHW: Tensor) -> Tensor:
    """[B, 1, H, W]."""
    channels = pixels_BCHW.shape[1]
    share_C = LUMA if channels == len(LUMA) else (1 / channels,) * channels
    return (pixels_BCHW * _channels(share_C, pixels_BCHW.device, pixels_BCHW.dtype)).sum(dim=1, keepdim=True)


@lru_cache(maxsize=16)
def _channels(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """[C, 1, 1]; kept, since to copy them to a GPU would wait for it in every step."""
    return torch.tensor(numbers, device=device, dtype=dtype)[:, None, None]
