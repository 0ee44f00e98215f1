"""First rounds of a run, by client; the models of all rounds; and a stand-in for CUDA graphs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fedsam import Run
from fedsam.engine.support.cuda_graph import Graphs, Work
from fedsam.federated.round_loop import Simulation
from tests.support.ragged import Ragged


def trained(run: Run, rows: list[int] | None = None) -> tuple[dict[int, Tensor], dict[int, float]]:
    """Updates and losses of the first round, by client."""
    simulation = Simulation(run)
    order = simulation.order(simulation.clock(), 0.05)
    order = order if rows is None else order.part(rows)
    deltas, losses = {}, {}
    for block in simulation.trainer.train(simulation.theta_P, order):
        assert not block.failed
        for client, delta_P, loss in zip(block.ids, block.update_JP, block.loss_K, strict=True):
            deltas[client], losses[client] = delta_P, float(loss)
    return deltas, losses


def ragged_run(engine: str, block: int = 0, precision: str = "fp64", **changes: Any) -> Run:
    values: dict[str, Any] = {
        "data": Ragged(),
        "cohort": 7,
        "client": {"name": "sgd", "batch_size": 4, "epochs": 2},
        "engine": {"name": engine, "precision": precision, "block": block},
    }
    return Run(**{**values, **changes})


def assert_same(
    one: tuple[dict[int, Tensor], dict[int, float]],
    other: tuple[dict[int, Tensor], dict[int, float]],
    bound: float = 1e-10,
) -> None:
    assert one[0].keys() == other[0].keys()
    for client, delta_P in one[0].items():
        assert delta_P.norm() > 0
        assert (delta_P - other[0][client]).norm() <= bound * delta_P.norm()
        assert math.isclose(one[1][client], other[1][client], rel_tol=bound, abs_tol=1e-12)


ROUNDS = 5


class Again:
    """As a CUDA graph: the work reads its own inputs, and its outputs lie in the same place each time."""

    replays = 0

    def __init__(self, work: Work) -> None:
        self.work, self.outputs = work, work()

    def replay(self) -> None:
        Again.replays += 1
        for mine, new in zip(self.outputs, self.work(), strict=True):
            if mine is not new:
                mine.data.copy_(new)  # without a new version, as graphs write


def models(run: Run, graphs: Graphs | None = None) -> list[Tensor]:
    """The global model after each round."""
    simulation = Simulation(run)
    simulation.trainer.graphs = graphs  # type: ignore[attr-defined]
    found = []
    for _ in range(ROUNDS):
        simulation.advance()
        found.append(simulation.theta_P.clone())
    return found


def assert_same_models(one: list[Tensor], other: list[Tensor]) -> None:
    assert not any(torch.equal(a, b) for a, b in pairwise(one))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
