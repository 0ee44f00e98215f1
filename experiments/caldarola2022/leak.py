"""The leak of the authors' CIFAR-10 files, on digits."""

from __future__ import annotations

from fedsam.data.base import Split
from fedsam.data.cifar10 import leaked
from fedsam.data.digits import Digits
from fedsam.data.images.spec import ImageSpec


class LeakyDigits(Digits):
    """The handwritten digits with test images among the training images, by the rule of `data.fedsam_leak`: the
    training image at a position becomes the test image at that position where both have the same label.
    """

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """Test images as they are, training images with the leak."""
        spec, train, test = super().read()
        return spec, leaked(train, test), test
