"""Quantity skew: clients of very different size, each a random sample of the whole."""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import Assignment, Partition, log_normal_sizes
from fedsam.errors import InputError


class Quantity(Partition):
    """Labels as in `iid`, sizes log-normal and scaled to use every example.

        n_k = N w_k / sum(w),   log w_k ~ Normal(0, sigma^2)

    rounded by largest remainder; what clients below `min_size` lack is taken from the largest.

    Source: the unbalanced splits of Acar et al., "Federated learning based on dynamic regularization" (FedDyn), ICLR
    2021, section 4.
    """

    sigma: float = key(
        1.0, "standard deviation of the logarithm of client size; 0 makes all equal", "convention", ge=0.0, le=1e300
    )
    min_size: int = key(1, "fewest examples of a client; 0 allows empty clients", "every client can train", ge=0)

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide all examples.

        Raises:
            InputError: `samples_per_client` is given, or there are too few examples for `min_size`.
        """
        if samples_per_client is not None:
            allowed = "sizes are an outcome of partition quantity; leave it out, or choose partition iid"
            raise InputError("samples_per_client", samples_per_client, allowed)
        sizes_K = log_normal_sizes(len(labels), clients, self.sigma, self.min_size, rng)
        return Assignment.owned(rng.permutation(len(labels)), np.repeat(np.arange(clients), sizes_K), clients)
