"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Component, Config


class AugmentKeys(Config):
    """Those handed to a `Augment`."""

    crop_padding: int = 4
    cutout_after: Component | str = "crop_flip"
    cutout_size: int = 16
    label_smoothing: float = 0.1
    mixup_after: Component | str = "crop_flip"
    mixup_alpha: float = 1.0
    smoothing_after: Component | str = "crop_flip"
    smoothing_over: str = "all"
