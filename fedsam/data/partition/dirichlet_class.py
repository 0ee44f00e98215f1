"""Label and quantity skew with a Dirichlet draw per class over clients.

Shapes: N examples, K clients, L classes that occur.
"""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import Assignment, Partition, apportion, deal, lifted, log_dirichlet, normalised
from fedsam.errors import InputError


class DirichletClass(Partition):
    """Each class is spread over the clients by its own draw; client sizes are what comes out.

        p_l ~ Dir(alpha, ..., alpha) over the K clients,
        client k has p_lk n_l of the n_l examples of class l, rounded by largest remainder.

    Where the papers' code draws again until no client is too small, which may never end, examples of the largest
    clients, chosen at random, go to the clients below `min_size`. That code also closes a client to further classes
    once it has N / K examples; that is not done here.

    Source: Yurochkin et al., "Bayesian nonparametric federated learning of neural networks", ICML 2019 (arXiv
    1905.12022), section 4; Li et al., "Federated learning on non-IID data silos" (NIID-Bench), 2021 (arXiv 2102.02079).
    """

    requires = frozenset({"classes"})

    alpha: float = key(
        0.5, "Dirichlet concentration for each client; smaller is more skewed", "Li et al. 2021 (NIID-Bench)", gt=0.0
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
            allowed = "sizes are an outcome of partition dirichlet_class; leave it out, or choose partition dirichlet"
            raise InputError("samples_per_client", samples_per_client, allowed)
        _, pool_L = np.unique(labels, return_counts=True)
        share_LK = normalised(log_dirichlet(np.full((len(pool_L), clients), self.alpha), rng))
        assignment = deal(labels, apportion(share_LK, pool_L).T, rng)
        target_K = lifted(assignment.sizes(), self.min_size)
        return _moved(assignment, target_K, rng)


def _moved(assignment: Assignment, target_K: np.ndarray, rng: np.random.Generator) -> Assignment:
    sizes_K = assignment.sizes()
    owner = np.repeat(np.arange(len(sizes_K)), sizes_K)
    shuffled = rng.permutation(len(owner))
    shuffled = shuffled[np.argsort(owner[shuffled], kind="stable")]
    rank = np.arange(len(owner)) - assignment.offsets[owner]
    spare = shuffled[rank >= target_K[owner]]
    owner[rng.permutation(spare)] = np.repeat(np.arange(len(sizes_K)), np.maximum(target_K - sizes_K, 0))
    return Assignment.owned(assignment.index, owner, len(sizes_K))
