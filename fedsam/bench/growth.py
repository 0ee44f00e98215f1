"""How a round grows: time and memory against clients per round, population, parameters, settings and workers, each
point in a process of its own, but the settings.

`limit_ratio` is the time over what the curve's line says, drawn through its largest point where time should grow in
proportion, else through its smallest. The name of a variant has the peak memory of the process in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from fedsam.bench import Row, sweep
from fedsam.bench.common.alone import alone

SMALL: dict[str, Any] = {"data.name": "synthetic", "data.samples_per_client": 20, "client.batch_size": 10}
SMALL |= {"client.epochs": 1, "client.lr": 0.01}
CONVOLUTIONS = {**SMALL, "data.size": 32, "data.channels": 3, "model.name": "cnn", "engine.name": "ray"}


@dataclass(frozen=True)
class Curve:
    """What grows.

    Args:
        name: of what.
        points: its numbers, from small to large, and the keys of each.
        power: of the number, that the time should follow: 1 = in proportion, 0 = the same, -1 = in inverse proportion.
    """

    name: str
    points: dict[int, dict[str, Any]]
    power: int


CURVES = (
    Curve(
        "clients per round",
        {cohort: {**SMALL, "data.clients": 1000, "cohort": cohort} for cohort in (5, 20, 100, 300, 1000)},
        1,
    ),
    Curve(
        "population",
        {clients: {**SMALL, "data.clients": clients, "cohort": 100} for clients in (10**2, 10**3, 10**4, 10**5, 10**6)},
        0,
    ),
    Curve(
        "parameters",
        {
            width * 75 + 10: {**SMALL, "data.size": 8, "data.clients": 5, "cohort": 5, "model.width": width}
            for width in (14, 135, 1351, 13_513, 135_135, 1_351_351)
        },
        1,
    ),
    Curve(
        "workers of Ray",
        {n: {**CONVOLUTIONS, "data.clients": 16, "cohort": 16, "engine.workers": n} for n in (1, 2)},
        -1,
    ),
)


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each curve, from small to large."""
    for curve in CURVES:
        found = {number: alone(keys, rounds) for number, keys in curve.points.items()}
        anchor = max(found) if curve.power == 1 else min(found)
        line = median(found[anchor]["seconds"])
        for number, point in found.items():
            expected = line * (number / anchor) ** curve.power
            name = f"{curve.name}: {number:,}, {point['peak'] / 2**20:.0f} MiB"
            yield Row(name, point["engine"], "fp32", point["seconds"], median(point["seconds"]) / expected)
    yield from (row for row in sweep.rows(rounds) if "as one" in row.variant)
