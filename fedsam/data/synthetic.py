"""Synthetic images, made client by client from the key: a million clients need no memory until they are sampled.

Shapes: N examples, K clients asked for, L classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsam.config import key
from fedsam.data.base import Dataset, Facts, Federation, Split
from fedsam.data.partition.base import log_dirichlet, normalised
from fedsam.rng import stream


class Synthetic(Dataset):
    """Images of class l are a fixed random prototype m_l plus noise: 128 + 32 (m_l + noise · e), with m and e standard normal, as bytes.

    Each client draws its own mix of classes, q ~ Dir(alpha / L, ..., alpha / L), as in `data.partition=dirichlet` (Hsu et al. 2019) but with no
    common pool. A client's data depend on the seed and its id alone.
    """

    samples_per_client: int = key(50, "training examples of each client", "pfl-research's benchmark", ge=1)
    alpha: float = key(0.5, "concentration of the Dirichlet distribution of classes; 0 = one class per client", "convention", ge=0.0)
    classes: int = key(10, "number of classes", "convention", ge=2, le=1000)
    channels: int = key(1, "channels of an image", "convention", ge=1, le=16)
    size: int = key(8, "height and width of an image", "convention", ge=1, le=512)
    noise: float = key(2.0, "standard deviation of the noise, in those of the prototypes", "convention", ge=0.0)
    test_samples: int = key(2000, "test examples, of all classes alike", "convention", ge=1)

    def load(self, seed: int) -> Federation:
        """Draw the prototypes and the test set; the clients' examples are made when they are asked for."""
        return SyntheticFederation(self, seed)


class SyntheticFederation(Federation):
    """Examples that exist from the moment they are asked for."""

    def __init__(self, settings: Synthetic, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.clients = settings.clients
        shape = (settings.size, settings.size, settings.channels)
        spread = float(np.hypot(1.0, settings.noise)) * 32 / 255
        self.facts = Facts(settings.classes, shape, (128 / 255,) * settings.channels, (spread,) * settings.channels)
        self._prototypes = stream(seed, "synthetic prototypes").standard_normal((settings.classes, *shape), dtype=np.float32)
        rng = stream(seed, "synthetic test")
        labels = rng.permutation(np.arange(settings.test_samples) % settings.classes)
        self.test = Split(self._images(labels, rng), labels)

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        return np.full(len(ids), self.settings.samples_per_client - self._held_out(), dtype=np.int64)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """The training examples of these clients, one client after the other."""
        return self._made(ids, slice(self._held_out(), None))

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """What these clients hold out, one client after the other."""
        return self._made(ids, slice(0, self._held_out()))

    def _held_out(self) -> int:
        samples = self.settings.samples_per_client
        return min(round(self.settings.local_test * samples), samples - 1)

    def _made(self, ids: Sequence[int], part: slice) -> tuple[Split, list[np.ndarray]]:
        made = [self._client(k) for k in ids]
        images = np.concatenate([images[part] for images, _ in made])
        labels = np.concatenate([labels[part] for _, labels in made])
        each = len(labels) // len(made)
        return Split(images, labels), [np.arange(i * each, (i + 1) * each) for i in range(len(made))]

    def _client(self, client: int) -> tuple[np.ndarray, np.ndarray]:
        rng = stream(self.seed, "synthetic", client=client)
        classes = self.settings.classes
        if self.settings.alpha:
            shares_L = normalised(log_dirichlet(np.full((1, classes), self.settings.alpha / classes), rng)[0])
        else:
            shares_L = np.eye(classes)[rng.integers(classes)]
        labels = rng.choice(classes, size=self.settings.samples_per_client, p=shares_L)
        return self._images(labels, rng), labels

    def _images(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = rng.standard_normal((len(labels), *self.facts.shape), dtype=np.float32)
        levels = 128 + 32 * (self._prototypes[labels] + self.settings.noise * noise)
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
