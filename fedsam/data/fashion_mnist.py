"""Fashion-MNIST: 70,000 grey images of clothing, 28 x 28, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Facts, Split
from fedsam.data.stored import Stored
from fedsam.data.vision import from_torchvision

FACTS = Facts(10, (28, 28, 1), (0.2860,), (0.3530,))  # of the training images


class FashionMNIST(Stored):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747, 2017)."""

    def read(self) -> tuple[Facts, Split, Split]:
        """60,000 training and 10,000 test images."""
        import torchvision

        files = "FashionMNIST/raw/ (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte)"
        return FACTS, *from_torchvision(torchvision.datasets.FashionMNIST, self.folder(), "Fashion-MNIST", files, train=(True, False))
