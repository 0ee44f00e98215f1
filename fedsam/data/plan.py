"""The batching plan of a round: which examples each client sees in which step, and its augmentation draws.

The same for every engine. Shapes: T local steps, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fedsam.data.augment.base import Augment, Draws
from fedsam.data.base import Federation, Split
from fedsam.rng import stream

Draw = Callable[[np.random.Generator, np.ndarray, int], Draws]
"""(stream, valid samples of each step [T], B) -> arrays [T, B, ...] by name."""


@dataclass(frozen=True)
class ClientPlan:
    """One client's round.

    Args:
        client: its id.
        examples: how many examples it has; its weight in the mean.
        index_TB: positions in the store; behind a step's valid samples its first one is repeated.
        count_T: valid samples of each step, from 1 to B.
        draws: of the augmentation and of the client optimiser, [T, B, ...].
        key_T2: of dropout, for a model that has some, [T, 2].
    """

    client: int
    examples: int
    index_TB: np.ndarray
    count_T: np.ndarray
    draws: Draws
    key_T2: np.ndarray | None = None

    def first(self, steps: int) -> ClientPlan:
        """The same cut short after so many local steps; what is drawn for them does not change."""
        draws = {name: each[:steps] for name, each in self.draws.items()}
        key_T2 = None if self.key_T2 is None else self.key_T2[:steps]
        return replace(self, index_TB=self.index_TB[:steps], count_T=self.count_T[:steps], draws=draws, key_T2=key_T2)


def sample_cohort(seed: int, round: int, clients: int, cohort: int) -> list[int]:
    """The clients of a round, uniformly without replacement, in ascending order."""
    ids = stream(seed, "cohort", round).choice(clients, size=cohort, replace=False, shuffle=False)
    return sorted(ids.tolist())


def plan_client(
    index: np.ndarray,
    batch_size: int,
    epochs: int,
    augment: Augment,
    shape: tuple[int, ...],
    seed: int,
    round: int,
    client: int,
    draw: Draw | None = None,
) -> ClientPlan:
    """The round of one client: in each epoch its examples in a new order, in batches of `batch_size`, the last one
    smaller if need be.

    Args:
        index: positions of the client's examples in the store.
        shape: of one stored input.
        draw: more draws, from a stream of their own.
    """
    examples, batch = len(index), min(batch_size, len(index))
    count_T = batch_sizes(examples, batch_size, epochs)
    per_epoch = len(count_T) // epochs
    order_EN = np.empty((epochs, per_epoch * batch), dtype=np.int64)
    rng = stream(seed, "batches", round, client)
    for epoch in range(epochs):
        order_EN[epoch, :examples] = rng.permutation(index)
        order_EN[epoch, examples:] = order_EN[epoch, (per_epoch - 1) * batch]
    draws: Draws = {}
    if type(augment).draw is not Augment.draw:  # to begin a stream takes as long as the rest
        draws = augment.draw(stream(seed, "augment", round, client), count_T, batch, shape)
    if draw is not None:
        draws = draws | draw(stream(seed, "optimiser", round, client), count_T, batch)
    return ClientPlan(client, examples, order_EN.reshape(-1, batch), count_T, draws)


@lru_cache(maxsize=4096)
def batch_sizes(examples: int, batch_size: int, epochs: int) -> np.ndarray:
    """Samples in each step of a client with so many examples, int64 [T]; not to be written to."""
    per_epoch = -(-examples // batch_size)
    count_ES = np.full((epochs, per_epoch), min(batch_size, examples), dtype=np.int64)
    count_ES[:, -1] = examples - (per_epoch - 1) * batch_size
    count_T = count_ES.reshape(-1)
    count_T.flags.writeable = False
    return count_T


def plan_clients(
    federation: Federation,
    ids: Sequence[int],
    batch_size: int,
    epochs: int,
    augment: Augment,
    seed: int,
    round: int,
    draw: Draw | None = None,
) -> tuple[Split, list[ClientPlan]]:
    """The round of these clients, and the store that their plans point into."""
    store, index = federation.examples(ids)
    shape = federation.spec.shape
    plans = [
        plan_client(own, batch_size, epochs, augment, shape, seed, round, client, draw)
        for client, own in zip(ids, index, strict=True)
    ]
    return store, plans


def local_steps(examples: np.ndarray, batch_size: int, epochs: int) -> np.ndarray:
    """Local steps of clients with so many examples."""
    return np.asarray(-(-examples // batch_size) * epochs)
