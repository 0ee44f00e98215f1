"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Component, Config


class AugmentKeys(Config):
    """Those handed to a `Augment`."""

    crop_padding: int = 4
    cutout_after: Component | str = "crop_flip"
    cutout_size: int = 16
    jitter_after: Component | str = "crop_flip"
    jitter_brightness: float = 0.4
    jitter_contrast: float = 0.4
    jitter_saturation: float = 0.4
    label_smoothing: float = 0.1
    mixup_after: Component | str = "crop_flip"
    mixup_alpha: float = 1.0
    scale_least: float = 0.5
    scale_most: float = 2.0
    smoothing_after: Component | str = "crop_flip"
    smoothing_over: str = "all"
