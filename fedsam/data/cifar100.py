"""CIFAR-100: 60,000 colour images of 32 x 32, 100 classes."""

from __future__ import annotations

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import from_torchvision
from fedsam.data.stored import Stored

# of the training images, to the digits in the FedSAM authors' code
SPEC = ImageSpec(100, (32, 32, 3), (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


class CIFAR100(Stored):
    """CIFAR-100 with its 100 fine labels (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009)."""

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """50,000 training and 10,000 test images.

        Raises:
            InputError: they are not there and cannot be downloaded, or are damaged.
        """
        import torchvision

        make, files = torchvision.datasets.CIFAR100, "cifar-100-python.tar.gz"
        return SPEC, *from_torchvision(make, self.folder(), "CIFAR-100", files, train=(True, False))
