"""SVHN: 99,289 colour images of house numbers, 32 x 32, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Facts, Split
from fedsam.data.stored import Stored
from fedsam.data.vision import from_torchvision

FACTS = Facts(10, (32, 32, 3), (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))  # of the training images


class SVHN(Stored):
    """Street View House Numbers, cropped digits (Netzer et al., NIPS workshop on deep learning, 2011)."""

    def read(self) -> tuple[Facts, Split, Split]:
        """73,257 training and 26,032 test images."""
        import torchvision

        files = "train_32x32.mat and test_32x32.mat"
        return FACTS, *from_torchvision(torchvision.datasets.SVHN, self.folder(), "SVHN", files, split=("train", "test"))
