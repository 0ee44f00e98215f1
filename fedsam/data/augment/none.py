"""No augmentation."""

from fedsam.data.augment.base import Augment


class NoAugment(Augment):
    """Training images as they are stored."""
