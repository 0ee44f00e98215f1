"""Augmentations: keyed, per sample, on the device. One augmentation, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.data.augment.colour_jitter import ColourJitter
    from fedsam.data.augment.crop_flip import CropFlip
    from fedsam.data.augment.cutout import Cutout
    from fedsam.data.augment.mixup import Mixup
    from fedsam.data.augment.scale_crop import ScaleCrop
    from fedsam.data.augment.smoothing import Smoothing

__all__ = [
    "ColourJitter",
    "CropFlip",
    "Cutout",
    "Mixup",
    "ScaleCrop",
    "Smoothing",
]
__getattr__ = short("fedsam.data.augment")
