"""SVHN: 99,289 colour images of house numbers, 32 x 32, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import from_torchvision
from fedsam.data.stored import Stored

# of all pixels of the training images
SPEC = ImageSpec(10, (32, 32, 3), (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))


class SVHN(Stored):
    """Street View House Numbers, cropped digits (Netzer et al., NIPS workshop on deep learning, 2011), label 0 for 0.

    A house number reads otherwise in a mirror: of the augmentations, leave out those that flip.
    """

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """73,257 training and 26,032 test images.

        Raises:
            InputError: they are not there and cannot be downloaded, or are damaged.
        """
        import torchvision

        files = "train_32x32.mat and test_32x32.mat"
        make = torchvision.datasets.SVHN
        return SPEC, *from_torchvision(make, self.folder(), "SVHN", files, split=("train", "test"))
