"""The handwritten digits that scikit-learn carries: 1,797 grey images of 8 x 8, 10 classes; nothing to download."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.embedded_table import embedded_table
from fedsam.data.images.spec import ImageSpec
from fedsam.data.stored import Partitioned
from fedsam.rng import stream

PER_CLASS = 140  # training images of each class; the 397 others are the test set


class Digits(Partitioned):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, UCI repository, 1998: its test part).

    1,400 training images, 140 of each class, and 397 test images; which is which does not depend on the run's seed.
    Pixels are whole numbers from 0 to 16.
    """

    clients: int = key(50, "number of clients", "the digits demonstration: 28 images each", ge=1, le=10**7)

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """Read the table that is installed with scikit-learn, without importing it, which would take two seconds.

        Raises:
            InputError: scikit-learn is not installed, or no longer carries the table.
        """
        return _read()


@lru_cache(maxsize=1)
def _read() -> tuple[ImageSpec, Split, Split]:
    table = embedded_table("digits", "digits.csv.gz").astype(np.uint8)
    images, labels = table[:, :64].reshape(-1, 8, 8, 1), table[:, 64].astype(np.int64)
    rng = stream(0, "digits")
    by_class = [rng.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    train = np.sort(np.concatenate([index[:PER_CLASS] for index in by_class]))
    test = np.sort(np.concatenate([index[PER_CLASS:] for index in by_class]))
    scaled = images[train] / 16
    spec = ImageSpec(10, (8, 8, 1), (float(scaled.mean()),), (float(scaled.std()),), scale=16.0)
    return spec, Split(images[train], labels[train]).read_only(), Split(images[test], labels[test]).read_only()
