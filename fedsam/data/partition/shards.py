"""Pathological label skew: a few shards of the examples sorted by label for each client."""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import Assignment, Partition, by_class, uneven_sizes
from fedsam.errors import InputError


class Shards(Partition):
    """Sort by label, cut into `clients * shards_per_client` shards, deal each client its number of them at random.

    Client sizes are equal, or log-normal with `sigma` as in `quantity` (at least one example for each shard), and kept
    exactly: where they are no multiple of the number of shards, a client's shards differ by one example.
    A shard has more than one class only where it lies across the border between two, or is larger than a class.

    Source: McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017,
    section 3.
    """

    requires = frozenset({"classes"})

    shards_per_client: int = key(2, "shards of each client", "McMahan et al. 2017, section 3", ge=1, le=10**6)
    sigma: float = key(
        0.0, "standard deviation of the logarithm of client size; 0 makes all equal", "off", ge=0.0, le=1e300
    )

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide by shards; without `samples_per_client` all examples are used, with it a random part of them.

        Raises:
            InputError: there are too few examples for these clients, or for a client's shards; or sigma is given with
                `samples_per_client`.
        """
        if self.sigma and clients * self.shards_per_client > len(labels):
            most = len(labels) // clients
            raise InputError(
                "shards_per_client", self.shards_per_client, f"must be at most {most} for {clients} clients"
            )
        least = self.shards_per_client
        sizes_K = uneven_sizes(len(labels), clients, samples_per_client, self.sigma, least, rng)
        if self.shards_per_client > sizes_K.min():
            raise InputError(
                "shards_per_client",
                self.shards_per_client,
                f"must be at most {sizes_K.min()}, the examples of a client",
            )
        part = rng.permutation(len(labels))[: sizes_K.sum()]
        order = part[by_class(labels[part], rng)[0]]
        shard_KS = sizes_K[:, None] // self.shards_per_client + (
            np.arange(self.shards_per_client) < sizes_K[:, None] % self.shards_per_client
        )
        dealt = rng.permutation(shard_KS.size)
        owner = np.repeat(dealt // self.shards_per_client, shard_KS.reshape(-1)[dealt])
        return Assignment.owned(order, owner, clients)
