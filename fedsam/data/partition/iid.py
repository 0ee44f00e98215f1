"""Random division into clients of equal size: every client's labels are a sample of the whole."""

from __future__ import annotations

import numpy as np

from fedsam.data.partition.base import Assignment, Partition, even_sizes


class IID(Partition):
    """A random permutation of the examples, cut into clients of equal size (sizes differ by one where they must).

    Source: McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017,
    section 3.
    """

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide at random; without `samples_per_client` all examples are used."""
        sizes_K = even_sizes(len(labels), clients, samples_per_client)
        index = rng.permutation(len(labels))[: sizes_K.sum()]
        return Assignment.owned(index, np.repeat(np.arange(clients), sizes_K), clients)
