"""CIFAR-10: 60,000 colour images of 32 x 32, 10 classes."""

from __future__ import annotations

from fedsam.data.base import Facts, Split
from fedsam.data.stored import Stored
from fedsam.data.vision import from_torchvision, read_parquet

# of the training images; std as in the FedSAM authors' code (a mean of per-image deviations, which many share)
FACTS = Facts(10, (32, 32, 3), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


class CIFAR10(Stored):
    """CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

    Looks for `<root>/cifar10/train.parquet` and `test.parquet` (Hugging Face layout, column `img`), then for torchvision's files.
    """

    def read(self) -> tuple[Facts, Split, Split]:
        """50,000 training and 10,000 test images, in their original order."""
        folder = self.folder() / "cifar10"
        paths = folder / "train.parquet", folder / "test.parquet"
        if any(path.exists() for path in paths):
            train, test = (read_parquet(path, "img", "label", "root") for path in paths)
            return FACTS, train, test
        import torchvision

        files = "train.parquet and test.parquet into cifar10/ under it, or cifar-10-batches-py/ (from cifar-10-python.tar.gz)"
        train, test = from_torchvision(torchvision.datasets.CIFAR10, self.folder(), "CIFAR-10", files, train=(True, False))
        return FACTS, train, test
