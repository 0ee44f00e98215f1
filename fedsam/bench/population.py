"""Does the size of the population cost anything? A round of 100 of 100, 10,000 and 1,000,000 synthetic clients, each
population in a process of its own.

`limit_ratio` is the time over that of the smallest population. The peak memory of the process, which should not grow
with the population either, stands in the variant's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from fedsam.bench import Row
from fedsam.bench.common.alone import alone

CLIENTS = (10**2, 10**4, 10**6)
COHORT = 100
ROUND: dict[str, Any] = {"data.name": "synthetic", "client.lr": 0.1, "client.batch_size": 10, "client.epochs": 1}


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each population, from small to large."""
    first: dict[str, Any] = {}
    for clients in CLIENTS:
        found = alone({**ROUND, "data.clients": clients, "cohort": COHORT}, rounds)
        first = first or found
        ratio = median(found["seconds"]) / median(first["seconds"])
        note = f"{found['peak'] / first['peak']:.2f} x the memory of {CLIENTS[0]:,} clients"
        name = f"{COHORT} of {clients:,} clients, {found['peak'] / 2**20:.0f} MiB"
        yield Row(name, found["engine"], "fp32", found["seconds"], ratio, note)
