"""CIFAR-10: 60,000 colour images of 32 x 32, 10 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.images.parquet_files import read_parquet, remark, shards
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import check_fit, from_torchvision
from fedsam.data.stored import Stored

# Of the training images. As in the FedSAM authors' code and many others, std is the mean of the images' own deviations;
# over all pixels it is (0.2470, 0.2435, 0.2616).
SPEC = ImageSpec(10, (32, 32, 3), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


class CIFAR10(Stored):
    """CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

    Looks for `<root>/cifar10/train.parquet` and `test.parquet` (Hugging Face layout: `img` or `image`, and `label`),
    each a file, a folder of shards, or in its place shards such as `train-00000-of-00002.parquet`, then for
    torchvision's files. Parquet files that hold JPEG instead of PNG are not quite the original pixels.

    Those who used the FedSAM authors' files trained on a part of the test set: their script saves training and test
    images to one folder under names of position and label, the test images last, so that a training image is lost where
    the test image of the same position has the same label. `fedsam_leak` does the same: of the training examples i from
    0 to 9,999 those with y_i = y'_i, 1,006 of them, become the test images x'_i.
    """

    fedsam_leak: bool = key(
        False,
        "put test images in place of 1,006 training images, as the FedSAM authors' files do; for comparisons alone",
        "off; Caldarola et al. 2022, the released data/cifar10/preprocessing/save_images.py",
    )

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """50,000 training and 10,000 test images, in the order of the files.

        Raises:
            InputError: they are not there and cannot be downloaded, or are damaged.
        """
        spec, train, test = self._read()
        return spec, leaked(train, test) if self.fedsam_leak else train, test

    def _read(self) -> tuple[ImageSpec, Split, Split]:
        places = {part: self._places(part) for part in ("train", "test")}
        if any(path.exists() for paths in places.values() for path in paths):
            found = []
            for paths in places.values():
                found.append(read_parquet(paths, ("img", "image"), "label", "root", str(paths[0])))
                check_fit(found[-1], SPEC, "root", str(paths[0]))
            return SPEC, found[0], found[1]
        import torchvision

        files = "cifar-10-python.tar.gz, or cifar10/train.parquet and cifar10/test.parquet,"
        make = torchvision.datasets.CIFAR10
        return SPEC, *from_torchvision(make, self.folder(), "CIFAR-10", files, train=(True, False))

    def _places(self, part: str) -> tuple[Path, ...]:
        """Where a part is, or would be as one file."""
        folder = self.folder() / "cifar10"
        whole = folder / f"{part}.parquet"
        if whole.exists():
            return shards(str(whole), "root", part)
        several = tuple(sorted(folder.glob(f"{part}-*-of-*.parquet")))
        remark(several)
        return several or (whole,)


def leaked(train: Split, test: Split) -> Split:
    """The training examples with x_i ← x'_i wherever the test example i has the same label."""
    both = min(len(train), len(test))
    same = np.flatnonzero(train.targets[:both] == test.targets[:both])
    images = train.inputs.copy()
    images[same] = test.inputs[same]
    return Split(images, train.targets).read_only()
