"""Synthetic images, made client by client from the key: a million clients need no memory until they are sampled.

Shapes: N examples, K clients asked for, H height, W width, C channels, L classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.border.budget import Need
from fedsam.config import key
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.label_noise import with_label_noise
from fedsam.data.partition.base import log_gammas, normalised
from fedsam.data.skew.base import Skew
from fedsam.data.stored import held_out_size, hold_out
from fedsam.errors import InputError
from fedsam.rng import stream

if TYPE_CHECKING:
    from fedsam.data.keys import SkewKeys
else:
    SkewKeys = object

LENGTH = 4.0  # of a prototype, in standard deviations of the noise at noise = 1
GRID = 4  # cells along each side of a prototype
CENTRE, SPREAD = 127.5, 40.0  # of the bytes
ELEMENTS = 2**22  # pixels that are drawn at once
L2_CACHE = 2**18  # pixels that are computed at once: what is between lies in a near cache


class Synthetic(Dataset, SkewKeys):
    """Class prototypes in noise: an image of class l is, as bytes and clipped to 0 ... 255,

        127.5 + 40 (m_l + noise · e) / √(noise² + 16 / (H W C)),   e standard normal for each pixel (to 16 bits),

    with m_l a random pattern of 4 x 4 cells and of norm 4, so that how hard the classes are to tell apart depends on
    `noise` and hardly on the size of the images.

    Each client draws its own mix of classes q ~ Dir(alpha / L, ..., alpha / L), as in `data.partition=dirichlet` (Hsu
    et al. 2019) but without a common pool that runs out. A client's data depend on the seed and its id alone. So does
    its label noise: each client has the same share of wrong labels, on images of the true class.
    """

    samples_per_client: int = key(50, "examples of each client", "convention", ge=1, le=10**9)
    alpha: float = key(
        0.5, "Dirichlet concentration; 0 gives each client one class", "as data.partition=dirichlet", ge=0.0
    )
    classes: int = key(10, "number of classes", "convention", ge=2, le=1000)
    channels: int = key(1, "channels of an image", "convention", ge=1, le=16)
    size: int = key(8, "height and width of an image", "convention", ge=1, le=512)
    noise: float = key(
        1.0, "standard deviation of the noise; more makes the classes harder", "convention", ge=0.0, le=1e6
    )
    skew: Skew = key("none", "what sets one client's images apart from another's; the test set stays as it is", "off")
    test_samples: int = key(2000, "test examples, of all classes alike", "convention", ge=1, le=10**9)

    def __init__(self, **values: Any) -> None:
        if "partition" in values:
            allowed = "synthetic has none: its clients draw their classes by data.alpha; leave it out"
            raise InputError("partition", values["partition"], allowed)
        super().__init__(**values)

    def needs(self, clients: int) -> list[Need]:
        """Bytes and labels of a round's clients and of the test set, and the random words of one client's."""
        image, samples = self.size * self.size * self.channels, self.samples_per_client
        drawn = samples * (2 * image + self.classes)
        test = self.test_samples * (3 * image + 8)
        return [
            Need(
                "samples_per_client",
                samples,
                f"the examples of {clients:,} clients",
                clients * samples * (image + 8) + drawn,
            ),
            Need("test_samples", self.test_samples, "the test set", test),
        ]

    def load(self, seed: int) -> Federation:
        """Draw the prototypes and the test set; the clients' examples are made when they are asked for."""
        return SyntheticFederation(self, seed)


class SyntheticFederation(Federation):
    """Examples that exist from the moment they are asked for; those asked for last are kept."""

    spec: ImageSpec

    def __init__(self, settings: Synthetic, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.clients = settings.clients
        size, channels, classes = settings.size, settings.channels, settings.classes
        self.spec = ImageSpec(classes, (size, size, channels), (CENTRE / 255,) * channels, (SPREAD / 255,) * channels)
        cells = stream(seed, "synthetic prototypes").standard_normal((classes, GRID, GRID, channels), dtype=np.float32)
        cell = np.arange(size) * GRID // size
        pattern_LHWC = cells[:, cell[:, None], cell]
        length_L = np.sqrt(np.square(pattern_LHWC).sum(axis=(1, 2, 3), keepdims=True))
        self._prototypes_LHWC = LENGTH * pattern_LHWC / length_L
        self._gain = SPREAD / np.sqrt(np.float32(settings.noise**2 + LENGTH**2 / (size * size * channels)))
        rng = stream(seed, "synthetic test")
        labels = rng.permutation(np.arange(settings.test_samples) % classes)
        self.test = Split(self._images(labels, rng), labels)
        self._kept: tuple[tuple[int, ...], Split, list[np.ndarray]] | None = None

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        samples = self.settings.samples_per_client
        return np.full(len(ids), samples - held_out_size(samples, self.settings.local_test), dtype=np.int64)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All examples of these clients, one client after the other, and the positions of those they train on."""
        store, out = self._made(ids)
        if not self.settings.local_test:
            return store, list(np.arange(len(store.targets)).reshape(len(out), -1))
        return store, [np.flatnonzero(~held) + k * len(held) for k, held in enumerate(out)]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All examples of these clients, one client after the other, and the positions of those they hold out."""
        store, out = self._made(ids)
        return store, [np.flatnonzero(held) + k * len(held) for k, held in enumerate(out)]

    def label_counts(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each class at each of these clients, int64 [K, L]; makes no images."""
        counts_KL = np.zeros((len(ids), self.settings.classes), dtype=np.int64)
        for row, client in enumerate(ids):
            (labels,) = self._labels(self._streams([client]))
            held = self._held_out(labels, client)
            counts_KL[row] = np.bincount(self._noisy(labels, held, client)[~held], minlength=self.settings.classes)
        return counts_KL

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """What sets the images of each of these clients apart."""
        return self.settings.skew.table(self.seed, ids, self.spec.shape[2])

    def _made(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        asked, samples = tuple(int(k) for k in ids), self.settings.samples_per_client
        if self._kept is None or self._kept[0] != asked:
            images = np.empty((len(asked) * samples, *self.spec.shape), dtype=np.uint8)
            labels = np.empty(len(asked) * samples, dtype=np.int64)
            out = []
            at_once = max(1, ELEMENTS // (samples * math.prod(self.spec.shape)))
            for first in range(0, len(asked), at_once):
                some = slice(first * samples, (first + at_once) * samples)
                out += self._make(asked[first : first + at_once], images[some], labels[some])
            self._kept = asked, Split(images, labels), out
        return self._kept[1:]

    def _make(self, ids: Sequence[int], images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Write these clients' images and labels, one client after the other; which of each are held out."""
        samples, rngs = self.settings.samples_per_client, self._streams(ids)
        labels[...] = self._labels(rngs).reshape(-1)
        each = images[:samples].size
        drawn = np.concatenate([_words(rng, each) for rng in rngs])
        images[...] = self._shown(labels, drawn.reshape(images.shape))
        settings = self.settings
        if not settings.local_test and not settings.label_noise and type(settings.skew).traits is Skew.traits:
            return list(np.zeros((len(ids), samples), dtype=bool))  # for many clients sooner than one by one
        out = []
        for row, client in enumerate(ids):
            own = slice(row * samples, (row + 1) * samples)
            images[own] = self.settings.skew.client_images(images[own], self.seed, client, self.spec.scale)
            out.append(self._held_out(labels[own], client))
            labels[own] = self._noisy(labels[own], out[-1], client)
        return out

    def _streams(self, ids: Sequence[int]) -> list[np.random.Generator]:
        """Each client's stream, from which first its labels come, then its images."""
        return [stream(self.seed, "synthetic", client=client) for client in ids]

    def _labels(self, rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """The labels of clients at the beginning of their streams, int64 [K, N]."""
        clients, samples = len(rngs), self.settings.samples_per_client
        classes, alpha = self.settings.classes, self.settings.alpha
        if alpha == 0.0:
            return np.repeat([[rng.integers(classes)] for rng in rngs], samples, axis=1)
        raised_KL, exponential_KL = np.empty((2, clients, classes))
        uniform_KN = np.empty((clients, samples))
        for rng, raised, exponential, uniform in zip(rngs, raised_KL, exponential_KL, uniform_KN, strict=True):
            rng.standard_gamma(alpha / classes + 1.0, out=raised)
            rng.standard_exponential(out=exponential)
            rng.random(out=uniform)  # then as `Generator.choice`, without its checks
        upto_KL = normalised(log_gammas(np.asarray(alpha / classes), raised_KL, exponential_KL)).cumsum(axis=1)
        upto_KL /= upto_KL[:, -1:]
        labels_KN: np.ndarray = (upto_KL[:, None] <= uniform_KN[:, :, None]).sum(axis=2)
        return labels_KN

    def _held_out(self, labels: np.ndarray, client: int) -> np.ndarray:
        if not self.settings.local_test:  # to begin a stream takes as long as all else here
            return np.zeros(len(labels), dtype=bool)
        return hold_out(labels, self.settings.local_test, stream(self.seed, "local_test", client=client))

    def _noisy(self, labels: np.ndarray, held: np.ndarray, client: int) -> np.ndarray:
        """A client's labels with noise on those that it does not hold out; the same array if there is none."""
        share, kind = self.settings.label_noise, self.settings.label_noise_kind
        if not share:
            return labels
        rng = stream(self.seed, "label noise", client=client)
        return with_label_noise(labels, np.flatnonzero(~held), share, kind, self.settings.classes, rng)

    def _images(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shape = len(labels), *self.spec.shape
        return self._shown(labels, _words(rng, math.prod(shape)).reshape(shape))

    def _shown(self, labels: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Images of these labels, with the noise that the words, uint16, stand for."""
        images, at_once = np.empty(words.shape, dtype=np.uint8), max(1, L2_CACHE // math.prod(self.spec.shape))
        for first in range(0, len(labels), at_once):
            some = slice(first, first + at_once)
            shown = quantiles().take(words[some])
            shown *= np.float32(self.settings.noise)
            shown += self._prototypes_LHWC[labels[some]]
            shown *= self._gain
            shown += np.float32(CENTRE)
            images[some] = np.clip(np.rint(shown, out=shown), 0, 255, out=shown)
        return images


@lru_cache(maxsize=1)
def quantiles() -> np.ndarray:
    """Of the standard normal distribution, at (i + 1/2) / 2^16, float32: chosen alike, they are normal variates to 16
    bits, up to 4.3 standard deviations. Ten times as fast as `Generator.standard_normal`.
    """
    import torch

    levels = (torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16
    found: np.ndarray = torch.special.ndtri(levels).float().numpy()
    return found


def _words(rng: np.random.Generator, count: int) -> np.ndarray:
    """The next numbers of a stream, uint16."""
    words: np.ndarray = rng.bit_generator.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    return words
