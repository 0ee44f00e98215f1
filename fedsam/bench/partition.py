"""How long a partition takes: 50,000 labels of 10 classes over 1,000 and 10,000 clients; a round is one partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from fedsam.bench import Row, alternate
from fedsam.config import find, names
from fedsam.data.partition.base import Partition
from fedsam.errors import InputError
from fedsam.rng import stream


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each partition with its defaults; one that needs a file or groups is left out."""
    labels = stream(0, "bench").permutation(np.arange(50_000) % 10)
    for clients in (1_000, 10_000):
        parts: dict[str, Callable[[], object]] = {}
        for name in names(Partition):
            if "groups" in find(Partition, name).requires:
                continue
            partition = find(Partition, name)()
            try:
                partition.assign(labels, clients, None, stream(0, "partition"))
            except InputError:
                continue
            parts[name] = partial(partition.assign, labels, clients, None, stream(0, "partition"))
        for name, seconds in alternate(parts, rounds).items():
            yield Row(f"{name}, {clients:,} clients", "none", "none", seconds, None)
