"""What a round costs in which clients do nothing: 3 MB of weights go out, come back and are averaged.

`limit_ratio` of Flower is its time over that of a minimal stock Flower app, on the same nodes, in alternation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from fedsam.bench import Row, alternate
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.partition.base import Assignment
from fedsam.data.stored import StoredFederation
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation
from fedsam.optim.base import Oracle, State
from fedsam.optim.sgd import SGD
from fedsam.rng import stream
from fedsam.run import Run

CASES = ((5, 100), (10, 10_000), (50, 100))  # cohort, clients
WIDTH = 10_640  # of an MLP with 798,010 parameters


class OneEach(Dataset):
    """One random 8 x 8 image for each client."""

    def load(self, seed: int) -> Federation:
        """As many images as clients."""
        rng = stream(seed, "bench")
        images = rng.integers(256, size=(self.clients, 8, 8, 1), dtype=np.uint8)
        train = Split(images, rng.integers(10, size=self.clients))
        own = Assignment(np.arange(self.clients), np.arange(self.clients + 1))
        nothing = Assignment(np.empty(0, dtype=np.int64), np.zeros(self.clients + 1, dtype=np.int64))
        return StoredFederation(ImageSpec(10, (8, 8, 1), (0.5,), (0.3,)), train, train, own, nothing)


class Idle(SGD):
    """Leaves the weights as they are."""

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """No gradient; the loss is reported as 0."""
        oracle.loss = theta_P.new_zeros(())  # type: ignore[attr-defined]
        return theta_P, state


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each case in this process, on Ray, and over Flower."""
    with numerics("fp32"):
        for engines in (("loop",), ("cohort",), ("ray",)):  # apart, or they compete for caches and cores
            for cohort, clients in CASES:
                yield from _without_flower(engines, cohort, clients, rounds)
        for cohort, clients in CASES:
            yield from _flower(cohort, clients, rounds, versus)


def _simulation(engine: Any, cohort: int, clients: int) -> Simulation:
    data = OneEach(clients=clients)
    model = {"name": "mlp", "width": WIDTH}
    return Simulation(
        Run(data=data, model=model, client=Idle(batch_size=1, epochs=1), engine=engine, cohort=cohort, rounds=10**6)
    )


def _without_flower(engines: Sequence[str], cohort: int, clients: int, rounds: int) -> Iterator[Row]:
    simulations = {name: _simulation({"name": name}, cohort, clients) for name in engines}
    try:
        parts: dict[str, Callable[[], object]] = {name: each.advance for name, each in simulations.items()}
        seconds = alternate(parts, rounds)
    finally:
        for simulation in simulations.values():
            simulation.close()
    for name, times in seconds.items():
        yield Row(f"{cohort} of {clients:,} clients", name, "fp32", times, None)


def _flower(cohort: int, clients: int, rounds: int, versus: bool) -> Iterator[Row]:
    from fedsam.engine.flower import Flower
    from fedsam.flower.minimal import StockRounds
    from fedsam.flower.records import arrays_of
    from fedsam.flower.runtime import Runtime

    runtime = Runtime(clients, 1, 0.0)
    try:
        simulation = _simulation(Flower(threads=1).over(runtime.grid), cohort, clients)
        arrays = arrays_of(simulation.context.layout, simulation.theta_P)
        stock = StockRounds(runtime.grid, arrays, clients, cohort)
        seconds = alternate({"flower": simulation.advance, "stock flower": stock.round}, rounds)
    finally:
        runtime.stop()
    limit = float(np.median(seconds["stock flower"]))
    for name, times in seconds.items():
        ratio = float(np.median(times)) / limit
        peers = {"flower": 1 / ratio} if versus and name == "flower" else {}
        yield Row(f"{cohort} of {clients:,} clients", name, "fp32", times, ratio, versus=peers)
