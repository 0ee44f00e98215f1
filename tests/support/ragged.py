"""A small federation whose clients have very different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.rng import stream


class Ragged(Dataset):
    """A small federation whose clients have very different sizes."""

    clients: int = 7
    size: int = 8
    channels: int = 1

    def load(self, seed: int) -> Federation:
        return RaggedFederation(self.clients, self.size, self.channels, seed)


class RaggedFederation(Federation):
    SIZES = (1, 3, 4, 5, 9, 16, 23)

    def __init__(self, clients: int, size: int, channels: int, seed: int) -> None:
        rng = stream(seed, "ragged")
        sizes = [self.SIZES[k % len(self.SIZES)] for k in range(clients)]
        self.spec = ImageSpec(3, (size, size, channels), (0.4,) * channels, (0.3,) * channels)
        self.clients = clients
        self.ends = np.cumsum([0, *sizes])
        images = rng.integers(256, size=(sum(sizes), size, size, channels), dtype=np.uint8)
        self.train = Split(images, rng.integers(3, size=len(images)))
        self.test = Split(images[:20].copy(), self.train.targets[:20].copy())

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        return np.array([self.ends[k + 1] - self.ends[k] for k in ids])

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.train, [np.arange(self.ends[k], self.ends[k + 1]) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.test, [np.empty(0, dtype=np.int64) for _ in ids]
