"""What it costs that clients keep vectors: SCAFFOLD with 10 of 1,000 clients and 11 million parameters, five steps
each, in memory and in a file; ResNet-18, and a perceptron, whose arithmetic is as small as can be for its size.

`limit_ratio` is the time over that in memory. Each has a process of its own, whose peak memory stands in the variant's
name; that in memory grows with every client that is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from fedsam.bench import Row
from fedsam.bench.common.alone import alone

KEYS: dict[str, Any] = {"server.name": "scaffold", "data.name": "synthetic", "data.clients": 1000, "cohort": 10}
KEYS |= {"data.samples_per_client": 50, "client.batch_size": 10, "client.epochs": 1, "client.lr": 0.01}
MODELS: dict[str, dict[str, Any]] = {
    "ResNet-18": {"model.name": "resnet18", "data.size": 32, "data.channels": 3},
    "a perceptron": {"model.name": "mlp", "model.width": 13850, "data.size": 28},
}
PLACES = {"in memory": 8.0, "in a file": 0.0}
"""GiB of memory for what clients keep; eight are enough for 19 rounds."""


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each model in each place."""
    for model, keys in MODELS.items():
        limit = None
        for place, memory in PLACES.items():
            found = alone({**KEYS, **keys, "server.state_memory": memory}, rounds)
            seconds = found["seconds"]
            limit = limit or median(seconds)
            what = f"{model}, {found['parameters'] / 1e6:.1f} M, {place}, {found['peak'] / 2**20:,.0f} MiB"
            yield Row(what, found["engine"], "fp32", seconds, median(seconds) / limit)
