"""Several users or domains to a client."""

from __future__ import annotations

import numpy as np

from fedsam.data.partition.base import even_sizes
from fedsam.data.partition.groups import ByGroups
from fedsam.errors import InputError


class Grouped(ByGroups):
    """Each client has all examples of several groups, drawn at random and without replacement.

        client(g) = j  for  n_0 + ... + n_(j-1) ≤ π(g) < n_0 + ... + n_j,   n_j ∈ {⌊G / K⌋, ⌈G / K⌉}

    with π a random order of the G groups that have training examples, and K = `data.clients`. K = G is `natural`, in
    another order.
    """

    def clients_of(self, groups: int, clients: int, rng: np.random.Generator) -> np.ndarray:
        """At random.

        Raises:
            InputError: there are more clients than groups.
        """
        if clients > groups:
            told = f"more clients than the {groups} groups that have training examples"
            raise InputError("clients", clients, f"{told}; set at most {groups}")
        client_G = np.empty(groups, dtype=np.int64)
        client_G[rng.permutation(groups)] = np.repeat(np.arange(clients), even_sizes(groups, clients, None))
        return client_G
