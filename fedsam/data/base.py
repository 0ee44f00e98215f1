"""What a data set is: bytes and labels, divided among clients.

Shapes: N examples, H height, W width, C channels, K clients asked for, L classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fedsam.budget import Need
from fedsam.config import Component, key
from fedsam.data.augment.base import Augment
from fedsam.data.label_noise import NoiseKind
from fedsam.measured import TEST


@dataclass(frozen=True)
class Split:
    """Labelled images, kept as bytes in channels-last order, so that a batch is one gather of whole rows.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def read_only(self) -> Split:
        """The same split; writing to its arrays is an error from now on, so that several runs can share it."""
        self.images.flags.writeable = self.labels.flags.writeable = False
        return self


@dataclass(frozen=True)
class Facts:
    """What a model and the engines must know of a data set.

    A pixel p of channel c enters the model as (p / scale - mean[c]) / std[c], unless `data.pixels` says otherwise.
    """

    classes: int
    shape: tuple[int, int, int]  # H, W, C
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0


class Federation(ABC):
    """A loaded data set, divided among clients."""

    facts: Facts
    clients: int
    test: Split
    measured: str = TEST
    """What `test` is, and with it the first word of what records say of it."""

    @abstractmethod
    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""

    @abstractmethod
    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """A store of training examples, and for each of these clients the positions of its own in that store, int64.

        The store is the same object as long as its content is the same, so that an engine can keep it on the device.
        """

    @abstractmethod
    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As `examples`, for what each client holds out as its local test set (empty if `data.local_test` is 0).

        Its labels are true whatever `data.label_noise` is.
        """

    def label_counts(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each class at each of these clients, int64 [K, L].

        Counts the labels that clients train on: with `data.label_noise` the noisy ones.
        """
        store, index = self.examples(ids)
        return np.stack([np.bincount(store.labels[i], minlength=self.facts.classes) for i in index])

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """What sets the images of each of these clients apart (`data.skew`), a list [K] by name; empty if nothing."""
        return {}


class Dataset(Component):
    """A data set and how it is divided. `load` does the work; the object itself is only the description."""

    kind: ClassVar[str] = "data set"
    package: ClassVar[str] = "fedsam.data"

    clients: int = key(100, "number of clients", "Caldarola et al. 2022, CIFAR-10", ge=1, le=10**7)
    augment: Augment = key("none", "augmentation of training batches, on the device", "off")
    local_test: float = key(
        0.0, "share of each client's examples held out as its local test set, same label skew", "off", ge=0.0, lt=1.0
    )
    validation: float = key(
        0.0,
        "share of each client's training examples held out for tuning; above 0 a run is measured on these examples"
        " alone, and never on the test set",
        "off",
        ge=0.0,
        le=0.5,
    )
    label_noise: float = key(
        0.0,
        "share of the training labels that are replaced by wrong ones; test labels stay true",
        "off; Kwon et al. 2021 test 0.2 to 0.8",
        ge=0.0,
        lt=1.0,
    )
    label_noise_kind: NoiseKind = key(
        "symmetric",
        "what replaces them: symmetric = any other class, all alike; asymmetric = the next class",
        "Kwon et al. 2021",
    )
    pixels: Literal["standard", "symmetric", "unit"] = key(
        "standard",
        "how pixels enter the model: standard = by the data set's mean and deviation; symmetric = from -1 to 1; unit ="
        " from 0 to 1",
        "Caldarola et al. 2022; the others in Coldenhoff et al. 2022",
    )

    def needs(self, clients: int) -> list[Need]:
        """What must be in memory before and in a round with so many clients, beyond the files that are read."""
        return []

    @abstractmethod
    def load(self, seed: int) -> Federation:
        """Read or generate the data and divide it among the clients.

        Args:
            seed: the run's seed; partition, hold-out and label noise are keyed by it.

        Raises:
            InputError: a file is missing or unusable, or the partition or the label noise is impossible.
        """
