"""Images from four cities, which say which they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from fedsam import InputError
from fedsam.data.base import Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned

NAMES = ("rome", "oslo", "lima", "cairo", "unused")
TRAIN_GROUPS = np.array([3, 0, 0, 2, 1, 3, 1, 1, 0, 2, 3, 3] * 2)
TEST_GROUPS = np.array([0, 1, 2, 3, 0, 2])


def split(groups: np.ndarray | None, begin: int, length: int) -> Split:
    """Images that say which they are: every pixel of example n is n."""
    images = np.broadcast_to(np.arange(begin, begin + length, dtype=np.uint8)[:, None, None, None], (length, 2, 2, 1))
    return Split(images.copy(), np.arange(length) % 2, groups)


class Cities(Partitioned):
    """Images from four cities."""

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups"})

    def read(self) -> tuple[Spec, Split, Split]:
        spec = ImageSpec(2, (2, 2, 1), (0.5,), (0.25,), names=("even", "odd"), groups=NAMES)
        return spec, split(TRAIN_GROUPS, 0, 24), split(TEST_GROUPS, 100, 6)


class Nowhere(Partitioned):
    """The same, without saying where from."""

    def read(self) -> tuple[Spec, Split, Split]:
        return ImageSpec(2, (2, 2, 1), (0.5,), (0.25,)), split(None, 0, 24), split(None, 100, 6)


class Untold(Cities):
    """The same, where it is not known where the test images come from."""

    def read(self) -> tuple[Spec, Split, Split]:
        spec, train, test = super().read()
        return spec, train, replace(test, groups=None)


def shown(held: Split) -> list[int]:
    """Which images a split has."""
    return [int(image.flat[0]) for image in held.inputs]


def owned(federation: Federation) -> list[list[int]]:
    """Which images each client has."""
    store, index = federation.examples(range(federation.clients))
    return [[shown(store)[at] for at in own] for own in index]


def of_city(city: int) -> list[int]:
    return np.flatnonzero(city == TRAIN_GROUPS).tolist()


def refused(**keys: Any) -> str:
    with pytest.raises(InputError) as error:
        Cities(**keys).load(0)
    return str(error.value)
