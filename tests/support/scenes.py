"""Small images with masks, of which some pixels have no label, at clients of very different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.rng import stream

CLASSES, HEIGHT, WIDTH = 4, 16, 12


class Scenes(Dataset):
    """Blocks of noise whose mean tells the class of 1 to 3; class 0 nowhere; the mask of one image is empty."""

    task = "segmentation"
    clients: int = 5

    def load(self, seed: int) -> Federation:
        return ScenesFederation(self.clients, seed)


class ScenesFederation(Federation):
    SIZES = (1, 3, 4, 5, 9)
    task = "segmentation"

    def __init__(self, clients: int, seed: int) -> None:
        rng = stream(seed, "scenes")
        sizes = [self.SIZES[k % len(self.SIZES)] for k in range(clients)]
        self.clients, self.ends = clients, np.cumsum([0, *sizes])
        shape = (HEIGHT, WIDTH)
        self.spec = ImageSpec(CLASSES, (*shape, 3), (0.5,) * 3, (0.3,) * 3, target_shape=shape, ignore=255)
        cells = rng.integers(1, CLASSES, size=(self.ends[-1], HEIGHT // 4, WIDTH // 4)).astype(np.uint8)
        masks = cells.repeat(4, axis=1).repeat(4, axis=2)
        noise = rng.integers(100, size=(*masks.shape, 3))
        images = (noise + 50 * masks[..., None]).astype(np.uint8)
        masks[rng.random(masks.shape) < 0.15] = 255
        masks[2] = 255
        self.train = Split(images, masks)
        self.test = Split(images[:9].copy(), masks[:9].copy())

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        return np.array([self.ends[k + 1] - self.ends[k] for k in ids])

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.train, [np.arange(self.ends[k], self.ends[k + 1]) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.test, [np.array([k]) for k in ids]
