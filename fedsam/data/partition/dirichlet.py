"""Label skew with a Dirichlet draw per client over classes, fixed client sizes: the rule of the FedSAM paper's splits.

Shapes: N examples, K clients, L classes that occur.
"""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import (
    Assignment,
    Partition,
    deal,
    even_sizes,
    log_dirichlet,
    normalised,
    uneven_sizes,
)
from fedsam.errors import InputError


class Dirichlet(Partition):
    """Each client draws its own mix of classes, and then its examples by that mix, from what earlier clients left.

        q_k ~ Dir(alpha p),   p the class distribution of the whole data set (sum 1),
        client k draws n_k examples without replacement, each of class l with probability q_kl,
        renormalised over the classes that are not yet exhausted.

    Client sizes n_k are equal, or log-normal with `sigma` as in `quantity`, and kept exactly. alpha to infinity gives
    every client the distribution of the whole, alpha to 0 one class and leftovers. At exactly 0 every client has one
    class: clients are given to classes in proportion to class size, and without `samples_per_client` each class is
    divided evenly among its clients.

    Where all examples are divided, the last clients get what is left, and are more skewed than they drew: of the digits
    among 50 clients at alpha = 10 the last five have 3.1 classes in effect (1 / Σ_l p_l²), the others 5.0. With
    `samples_per_client` below N / K (21 of 28 there) no class runs out early, and both have 4.9; the rest is nobody's.

    alpha is the sum of the concentration parameters: where another library draws from the symmetric Dir(a, ..., a), the
    same skew is alpha = a L. For the rule that draws per class over clients see `dirichlet_class`.

    Source: Hsu, Qi and Brown, "Measuring the effects of non-identical data distribution for federated visual
    classification", 2019 (arXiv 1909.06335), section 3. The released CIFAR-10 splits of Caldarola, Caputo and Ciccone,
    ECCV 2022, have the skew of this rule, alpha for alpha.
    """

    requires = frozenset({"classes"})

    alpha: float = key(
        0.5,
        "Dirichlet concentration; 0 gives each client one class",
        "Caldarola et al. 2022, one of its splits",
        ge=0.0,
    )
    sigma: float = key(
        0.0, "standard deviation of the logarithm of client size; 0 makes all equal", "off", ge=0.0, le=1e300
    )

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide by class mixes; without `samples_per_client` all examples are used.

        Raises:
            InputError: too few examples; sigma with `samples_per_client` or with alpha = 0; or alpha is 0, and clients
                of one class cannot have this size or cover all.
        """
        if self.sigma and self.alpha == 0:
            allowed = "at alpha = 0 a client has an even share of one class; set it to 0, or alpha to a small number"
            raise InputError("sigma", self.sigma, allowed)
        sizes_K = uneven_sizes(len(labels), clients, samples_per_client, self.sigma, 1, rng)
        _, pool_L = np.unique(labels, return_counts=True)
        if self.alpha == 0:
            counts_KL = _one_class_each(pool_L, clients, samples_per_client, rng)
        else:
            counts_KL = _mixed(pool_L, sizes_K, self.alpha, rng)
        return deal(labels, counts_KL, rng)


def _mixed(pool_L: np.ndarray, sizes_K: np.ndarray, alpha: float, rng: np.random.Generator) -> np.ndarray:
    prior_L = pool_L / pool_L.sum()
    log_q_KL = log_dirichlet(np.tile(alpha * prior_L, (len(sizes_K), 1)), rng)
    left_L = pool_L.copy()
    counts_KL = np.zeros(log_q_KL.shape, dtype=np.int64)
    for k, size in enumerate(sizes_K.tolist()):
        wanted = size
        while wanted:
            # To renormalise when a class runs out is to draw by q and reject what is exhausted: so all draws are made
            # at once, and those beyond a pool are made again. Each pass ends the client or exhausts a class: at most L.
            open_ = np.flatnonzero(left_L)
            drawn = np.minimum(rng.multinomial(wanted, normalised(log_q_KL[k, open_])), left_L[open_])
            counts_KL[k, open_] += drawn
            left_L[open_] -= drawn
            wanted -= int(drawn.sum())
    return counts_KL


def _one_class_each(
    pool_L: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
) -> np.ndarray:
    classes = len(pool_L)
    if samples_per_client is None:
        if clients < classes:
            allowed = f"at alpha = 0 a client has one class: must be at least {classes}, or set samples_per_client"
            raise InputError("clients", clients, allowed)
        least_L, most_L = np.ones_like(pool_L), pool_L
    else:
        least_L, most_L = np.zeros_like(pool_L), pool_L // samples_per_client
        if most_L.sum() < clients:
            held = most_L.sum()
            allowed = (
                f"at alpha = 0 a client has one class: the classes hold {held} clients of this size, not {clients}"
            )
            raise InputError("samples_per_client", samples_per_client, allowed)
    given_L = _seats(pool_L, clients, least_L, most_L)
    class_K = rng.permutation(np.repeat(np.arange(classes), given_L))
    counts_KL = np.zeros((clients, classes), dtype=np.int64)
    for c in np.flatnonzero(given_L):
        counts_KL[class_K == c, c] = even_sizes(pool_L[c], given_L[c], samples_per_client)
    return counts_KL


def _seats(pool_L: np.ndarray, clients: int, least_L: np.ndarray, most_L: np.ndarray) -> np.ndarray:
    # Largest remainder within bounds: what the bounds shift is given back where the quota is missed most.
    quota_L = pool_L * clients / pool_L.sum()
    given_L: np.ndarray = np.clip(np.floor(quota_L).astype(np.int64), least_L, most_L)
    while (missing := clients - int(given_L.sum())) != 0:
        free_L = given_L < most_L if missing > 0 else given_L > least_L
        step = 1 if missing > 0 else -1
        gain_L = np.where(free_L, step * (quota_L - given_L), -np.inf)
        given_L[int(np.argmax(gain_L))] += step
    return given_L
