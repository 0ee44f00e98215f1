"""What a partition is: which examples each client has."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedsam.config import Component


@dataclass(frozen=True)
class Assignment:
    """Which examples each client has, as one index list and the place where each client's part of it begins.

    Args:
        index: positions in the data set, int64; client k has `index[offsets[k]:offsets[k + 1]]`, in ascending order.
        offsets: int64, one more than there are clients, from 0 to `len(index)`.
    """

    index: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, parts: list[np.ndarray]) -> Assignment:
        """From one array of positions per client."""
        sizes = np.array([len(p) for p in parts], dtype=np.int64)
        index = np.concatenate([np.sort(p) for p in parts]) if parts else np.empty(0)
        return cls(index.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.offsets) - 1

    def sizes(self) -> np.ndarray:
        """Examples of each client, int64."""
        return np.diff(self.offsets)

    def of_client(self, client: int) -> np.ndarray:
        """The positions of one client's examples, int64, ascending."""
        return self.index[self.offsets[client] : self.offsets[client + 1]]


class Partition(Component):
    """A rule that divides labelled examples among clients."""

    kind: ClassVar[str] = "partition"
    package: ClassVar[str] = "fedsam.data.partition"

    @abstractmethod
    def assign(self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator) -> Assignment:
        """Divide the examples with these labels among clients.

        Args:
            labels: class of each example, int64, from 0.
            clients: how many clients there are.
            samples_per_client: examples of each client; None divides all examples, as evenly as the rule allows.
            rng: the only source of chance.

        Raises:
            InputError: the rule cannot be kept with these numbers.
        """


def even_sizes(examples: int, clients: int, samples_per_client: int | None) -> np.ndarray:
    """Client sizes that differ by at most one and use all examples, or `samples_per_client` each.

    Raises:
        InputError: there are too few examples.
    """
    from fedsam.errors import InputError

    if samples_per_client is not None:
        if clients * samples_per_client > examples:
            allowed = f"{clients} clients would need {clients * samples_per_client} examples, the data set has {examples}"
            raise InputError("samples_per_client", samples_per_client, allowed)
        return np.full(clients, samples_per_client, dtype=np.int64)
    if clients > examples:
        raise InputError("clients", clients, f"more clients than the {examples} examples of the data set")
    sizes = np.full(clients, examples // clients, dtype=np.int64)
    sizes[: examples % clients] += 1
    return sizes
