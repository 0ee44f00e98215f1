"""MNIST: 70,000 grey images of handwritten digits, 28 x 28, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import from_torchvision
from fedsam.data.stored import Stored

SPEC = ImageSpec(10, (28, 28, 1), (0.1307,), (0.3081,))  # of all pixels of the training images


class MNIST(Stored):
    """MNIST (LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE, 1998)."""

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """60,000 training and 10,000 test images.

        Raises:
            InputError: they are not there and cannot be downloaded, or are damaged.
        """
        import torchvision

        files = "the four files train-*-ubyte.gz and t10k-*-ubyte.gz into MNIST/raw/, and that"
        return SPEC, *from_torchvision(torchvision.datasets.MNIST, self.folder(), "MNIST", files, train=(True, False))
