"""Fashion-MNIST: 70,000 grey images of clothing, 28 x 28, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import from_torchvision
from fedsam.data.stored import Stored

SPEC = ImageSpec(10, (28, 28, 1), (0.2860,), (0.3530,))  # of all pixels of the training images


class FashionMNIST(Stored):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747, 2017)."""

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """60,000 training and 10,000 test images.

        Raises:
            InputError: they are not there and cannot be downloaded, or are damaged.
        """
        import torchvision

        make = torchvision.datasets.FashionMNIST
        files = "the four files train-*-ubyte.gz and t10k-*-ubyte.gz into FashionMNIST/raw/, and that"
        return SPEC, *from_torchvision(make, self.folder(), "Fashion-MNIST", files, train=(True, False))
