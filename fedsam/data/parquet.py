"""Any labelled images in two Parquet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Facts, Split
from fedsam.data.stored import Partitioned
from fedsam.data.vision import read_parquet
from fedsam.errors import InputError


class Parquet(Partitioned):
    """A training and a test file in the Hugging Face layout: an image column struct(bytes, path) and an integer label column."""

    train_file: str = key("", "Parquet file of the training images; required", "no default")
    test_file: str = key("", "Parquet file of the test images; required", "no default")
    image_column: str = key("img", "column of the images", "cifar10 in the Hugging Face hub")
    label_column: str = key("label", "column of the labels, whole numbers from 0", "cifar10 in the Hugging Face hub")

    def read(self) -> tuple[Facts, Split, Split]:
        """Both files; mean and standard deviation are those of the training images."""
        splits = []
        for name in ("train_file", "test_file"):
            path = getattr(self, name)
            if not path:
                raise InputError(name, InputError.ABSENT, "must name a Parquet file")
            splits.append(read_parquet(Path(path).expanduser(), self.image_column, self.label_column, name))
        train, test = splits
        agree(train, test, "test_file")
        return facts_of(train), train, test


def agree(train: Split, test: Split, key: str) -> None:
    """Refuse test images of another size, or with classes that no training image has.

    Raises:
        InputError: under `key`.
    """
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = [" x ".join(map(str, split.images.shape[1:])) for split in (train, test)]
        raise InputError(key, InputError.ABSENT, f"test images are {sizes[1]} (height x width x channels), training images {sizes[0]}")
    if test.labels.max() > train.labels.max():
        raise InputError(key, InputError.ABSENT, f"has the label {test.labels.max()}, the highest training label is {train.labels.max()}")


def facts_of(train: Split) -> Facts:
    """Number of classes, shape, and mean and standard deviation of each channel, from training images."""
    height, width, channels = train.images.shape[1:]
    counts = np.stack([np.bincount(train.images[:, :, :, c].ravel(), minlength=256) for c in range(channels)])
    share = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 1e-12))
    return Facts(int(train.labels.max()) + 1, (height, width, channels), tuple(mean.tolist()), tuple(std.tolist()))
