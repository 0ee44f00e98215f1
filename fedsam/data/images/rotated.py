"""Data sets for sequences of tasks: the same images, turned by a quarter, a half, three quarters.

Chosen as `data.name=fedsam.data.images.rotated:RotatedDigits data.turns=1`.
"""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.cifar10 import CIFAR10
from fedsam.data.digits import Digits
from fedsam.data.images.spec import ImageSpec
from fedsam.data.stored import Partitioned


class _Rotated(Partitioned):
    turns: int = key(0, "quarter turns of every image, anticlockwise", "after Lopez-Paz and Ranzato 2017", ge=0, le=3)

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """The images as they are stored, turned."""
        spec, train, test = super().read()  # type: ignore[safe-super]
        assert isinstance(spec, ImageSpec)
        return spec, self._turned(train), self._turned(test)

    def _turned(self, split: Split) -> Split:
        images = np.ascontiguousarray(np.rot90(split.inputs, self.turns, axes=(1, 2)))
        return Split(images, split.targets.copy(), split.groups).read_only()


class RotatedDigits(_Rotated, Digits):
    """The handwritten digits, turned: a task of a sequence with one and the same set of classes.

    Rotated images as tasks are those of Lopez-Paz and Ranzato, NeurIPS 2017, section 5.1, with their random angles
    replaced by quarter turns, which move pixels without interpolating them.
    """


class RotatedCIFAR10(_Rotated, CIFAR10):
    """CIFAR-10, turned; see `RotatedDigits`."""
