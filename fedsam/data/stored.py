"""Data sets that are held in memory and divided by a partition.

Shapes: N examples, K clients asked for.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Dataset, Facts, Federation, Split
from fedsam.data.partition.base import Assignment, Partition
from fedsam.rng import stream


class StoredFederation(Federation):
    """One array of examples, and the places of each client's own in it."""

    def __init__(self, facts: Facts, train: Split, test: Split, own: Assignment, held_out: Assignment) -> None:
        self.facts, self.clients = facts, own.clients
        self.train, self.test = train, test
        self._own, self._held_out = own, held_out

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        return self._own.sizes()[np.asarray(ids, dtype=np.int64)]

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All training examples, and the positions of each client's own."""
        return self.train, [self._own.of_client(k) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All training examples, and the positions of what each client holds out."""
        return self.train, [self._held_out.of_client(k) for k in ids]


class Partitioned(Dataset):
    """A data set that is read whole and divided by a partition."""

    partition: Partition = key("dirichlet", "how the training examples are divided among the clients", "Caldarola et al. 2022")
    samples_per_client: int | None = key(None, "training examples of each client; none = all examples are divided", "Caldarola et al. 2022: 500", ge=1)

    @abstractmethod
    def read(self) -> tuple[Facts, Split, Split]:
        """What a model must know, training and test examples.

        Raises:
            InputError: a file is missing or unusable.
        """

    def load(self, seed: int) -> Federation:
        """Read the data, divide it, and hold out each client's local test set."""
        facts, train, test = self.read()
        assignment = self.partition.assign(train.labels, self.clients, self.samples_per_client, stream(seed, "partition"))
        kept, held_out = [], []
        for k in range(assignment.clients):
            own = assignment.of_client(k)
            out = _held_out(train.labels[own], self.local_test, stream(seed, "local_test", client=k)) if self.local_test else np.zeros(len(own), bool)
            kept.append(own[~out])
            held_out.append(own[out])
        return StoredFederation(facts, train, test, Assignment.of(kept), Assignment.of(held_out))


class Stored(Partitioned):
    """A data set that is read from files under a folder."""

    root: str | None = key(None, "folder of the data sets; none = $FEDSAM_DATA, else ~/.cache/fedsam", "convention")

    def folder(self) -> Path:
        """Where the files are looked for."""
        return Path(self.root or os.environ.get("FEDSAM_DATA") or "~/.cache/fedsam").expanduser()


def _held_out(labels_N: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which of a client's examples are its local test set, bool [N]: the same share of each class, rounded by largest remainder.

    At least one example is left for training.
    """
    total = min(round(share * len(labels_N)), len(labels_N) - 1)
    chosen = np.zeros(len(labels_N), dtype=bool)
    if total <= 0:
        return chosen
    classes, counts = np.unique(labels_N, return_counts=True)
    exact = counts * (total / len(labels_N))
    take = np.floor(exact).astype(np.int64)
    take[np.argsort(take - exact, kind="stable")[: total - take.sum()]] += 1
    for label, number in zip(classes, take, strict=True):
        chosen[rng.permutation(np.flatnonzero(labels_N == label))[:number]] = True
    return chosen
