"""What a partition is: which examples each client has; and the arithmetic that partitions share.

Shapes: N examples, K clients, L classes.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fedsam.config import Component
from fedsam.errors import InputError


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
        return cls(index.astype(np.int64), np.append(0, np.cumsum(sizes)))

    @classmethod
    def owned(cls, index: np.ndarray, owner: np.ndarray, clients: int) -> Assignment:
        """From positions in any order and the client that has each of them, both of one length."""
        ends = np.cumsum(np.bincount(owner, minlength=clients))
        return cls(index[np.lexsort((index, owner))].astype(np.int64), np.append(0, ends))

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

    counts: ClassVar[bool] = False
    """Whether the data say how many clients there are; what `data.clients` has then no say in."""

    positions: ClassVar[bool] = False
    """Whether it names examples by their positions."""

    def looking_in(self, *folders: Path) -> Partition:
        """This rule, where files that it reads are looked for in these folders too.

        Raises:
            InputError: a file is in none of these places.
        """
        return self

    def of_groups(self, groups: np.ndarray | None, names: tuple[str, ...]) -> Partition:
        """This rule, where it is known which user or domain each example comes from.

        Args:
            groups: of each example, positions in `names`, int64 [N]; None where it is not known.
            names: of the users or domains.

        Raises:
            InputError: the rule needs to know.
        """
        return self

    @abstractmethod
    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide the examples with these labels among clients.

        Args:
            labels: class of each example, int64, from 0.
            clients: how many clients there are; of a rule that `counts` 0 if that was not said.
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
    if samples_per_client is not None:
        if clients * samples_per_client > examples:
            needed = clients * samples_per_client
            allowed = f"{clients} clients would need {needed} examples, the data set has {examples}"
            raise InputError("samples_per_client", samples_per_client, allowed)
        return np.full(clients, samples_per_client, dtype=np.int64)
    if clients > examples:
        raise InputError("clients", clients, f"more clients than the {examples} examples of the data set")
    sizes = np.full(clients, examples // clients, dtype=np.int64)
    sizes[: examples % clients] += 1
    return sizes


def uneven_sizes(
    examples: int, clients: int, samples_per_client: int | None, sigma: float, min_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Client sizes as `even_sizes`, or for `sigma` above 0 log-normal ones that use all examples.

        n_k = N w_k / sum(w),   log w_k ~ Normal(0, sigma^2)

    rounded by largest remainder; what clients below `min_size` lack is taken from the largest. With sigma = 0 nothing
    is drawn.

    Raises:
        InputError: there are too few examples, or `samples_per_client` is given with a sigma.
    """
    if not sigma:
        return even_sizes(examples, clients, samples_per_client)
    if samples_per_client is not None:
        allowed = f"sizes are drawn with sigma = {sigma:g}; leave it out, or set sigma to 0"
        raise InputError("samples_per_client", samples_per_client, allowed)
    return log_normal_sizes(examples, clients, sigma, min_size, rng)


def log_normal_sizes(examples: int, clients: int, sigma: float, min_size: int, rng: np.random.Generator) -> np.ndarray:
    """The log-normal sizes of `uneven_sizes`, also for sigma = 0."""
    log_size_K = sigma * rng.standard_normal(clients)
    weight_K = np.exp(log_size_K - log_size_K.max())
    sizes_K = apportion((weight_K / weight_K.sum())[None], np.array([examples]))[0]
    return lifted(sizes_K, min_size)


def by_class(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All positions, class after class and at random within a class, and the size of each class that occurs, int64."""
    shuffled = rng.permutation(len(labels))
    _, sizes_L = np.unique(labels, return_counts=True)
    return shuffled[np.argsort(labels[shuffled], kind="stable")], sizes_L.astype(np.int64)


def deal(labels: np.ndarray, counts_KL: np.ndarray, rng: np.random.Generator) -> Assignment:
    """Give each client its number of randomly chosen examples of each class.

    Args:
        labels: class of each example, [N].
        counts_KL: examples of each class that occurs (ascending) for each client; at most as many as there are.
        rng: chooses them.
    """
    clients, classes = counts_KL.shape
    order, sizes_L = by_class(labels, rng)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes_L) - sizes_L, sizes_L)
    taken = rank < np.repeat(counts_KL.sum(axis=0), sizes_L)
    owner = np.repeat(np.tile(np.arange(clients), classes), counts_KL.T.reshape(-1))
    return Assignment.owned(order[taken], owner, clients)


def apportion(share_RK: np.ndarray, totals_R: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to shares, one row for each total, by largest remainder (Hamilton's method).

    Each is its exact quota rounded down, and the largest remainders get one more until the row has its total.

    Args:
        share_RK: shares, each row with sum 1.
        totals_R: what each row of the result sums to, int64.
    """
    quota_RK = share_RK * totals_R[:, None]
    whole_RK: np.ndarray = np.floor(quota_RK).astype(np.int64)
    order_RK = np.argsort(whole_RK - quota_RK, axis=1, kind="stable")
    extra_RK = np.arange(share_RK.shape[1]) < (totals_R - whole_RK.sum(axis=1))[:, None]
    whole_RK[np.arange(len(totals_R))[:, None], order_RK] += extra_RK
    return whole_RK


def lifted(sizes_K: np.ndarray, min_size: int) -> np.ndarray:
    """Client sizes of which none is below `min_size`: what the small ones lack is taken from the largest, levelled.

    Raises:
        InputError: there are too few examples.
    """
    examples, clients = int(sizes_K.sum()), len(sizes_K)
    if clients * min_size > examples:
        allowed = f"{clients} clients would need {clients * min_size} examples, there are {examples}"
        raise InputError("min_size", min_size, allowed)
    raised_K: np.ndarray = np.maximum(sizes_K, min_size)
    surplus = int(raised_K.sum()) - examples
    if surplus == 0:
        return raised_K
    # The m largest are cut to one level; the right m is the first whose level is not below the next size.
    largest = np.argsort(-raised_K, kind="stable")
    falling_K = raised_K[largest]
    m_K = np.arange(1, clients + 1)
    left_K = np.cumsum(falling_K) - surplus
    following_K = np.append(falling_K[1:], 0)
    m = int(m_K[left_K >= m_K * following_K][0])
    raised_K[largest[:m]] = left_K[m - 1] // m
    raised_K[largest[: left_K[m - 1] % m]] += 1
    return raised_K


LEAST = 1e-200  # below it log(U) / a overflows; the draw has long been one class only


def log_dirichlet(concentration: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logarithms of Dirichlet draws along the last dimension, up to a constant; finite however small the concentration.

    A Dirichlet draw is a vector of gamma variates divided by its sum, and for U uniform in (0, 1)

        log Gamma(a) = log Gamma(a + 1) + log(U) / a  in distribution

    (Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 2000). Gamma(a) itself
    underflows: for a below about 0.001 all of a draw can be 0.

    Args:
        concentration: positive; its shape is that of the result.
        rng: the source of chance.
    """
    return log_gammas(
        concentration, rng.standard_gamma(concentration + 1.0), rng.standard_exponential(concentration.shape)
    )


def log_gammas(concentration: np.ndarray, raised: np.ndarray, exponential: np.ndarray) -> np.ndarray:
    """Logarithms of gamma variates from those with a concentration raised by 1 and from standard exponential ones."""
    return np.asarray(np.log(raised) - exponential / np.maximum(concentration, LEAST))


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights from their logarithms, with sum 1 along the last dimension."""
    weights: np.ndarray = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights
