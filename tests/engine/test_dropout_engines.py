"""Networks with dropout on every engine: the same masks, and the same bits after a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from fedsam import Run, simulate
from fedsam.data.plan import ClientPlan
from fedsam.federated.round_loop import Simulation
from fedsam.params import Weights
from tests.support.discovered import ENGINES
from tests.support.every_engine import (
    AT_ONCE,
    EVERY_ENGINE,
    collected,  # noqa: F401
    on,
    same_everywhere,
    stopped_and_resumed,
    weights,
)
from tests.support.flower_grid import inside_flower  # noqa: F401

HERE = __name__

pytestmark = EVERY_ENGINE


class Net(nn.Module):
    """Dropout of several kinds; its transformer has the batch as its second dimension."""

    def __init__(self, classes: int, p: float = 0.2, statistics: bool = False) -> None:
        super().__init__()
        self.rows = nn.Linear(8, 12)
        self.first = nn.TransformerEncoderLayer(12, 2, 16, dropout=p)
        self.depth = StochasticDepth(p, "row")
        self.norm = nn.BatchNorm1d(96) if statistics else nn.Identity()
        self.drop = nn.Sequential(nn.AlphaDropout(p), nn.Dropout(p))
        self.last = nn.Linear(96, classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        rows = self.rows(images_BCHW[:, 0])
        rows = rows + self.depth(self.first(rows.transpose(0, 1)).transpose(0, 1))
        out: Tensor = self.last(self.drop(self.norm(rows.flatten(1))))
        return out


def described(**changes: Any) -> Run:
    keys = {
        **AT_ONCE,
        "data.name": "tests.support.ragged:Ragged",
        "model.name": f"{HERE}:Net",
        "client.batch_size": 4,
        "client.lr": 0.02,
        "cohort": 5,
    }
    return Run.from_keys(keys | changes)


def test_masks_are_the_same_on_every_engine() -> None:
    pytest.importorskip("ray")
    same_everywhere(described(), 7)


def test_masks_are_the_same_where_batch_normalisation_looks_at_the_batch() -> None:
    run = described(**{"model.statistics": True, "server.name": "fedavg"})
    assert float((weights(on("cohort", run)) - weights(on("loop", run))).abs().max()) <= 1e-10


def test_masks_matter() -> None:
    assert not torch.equal(weights(simulate(described())), weights(simulate(described(**{"model.p": 0.0}))))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, engine: str) -> None:
    run = described(**{"engine.name": engine})
    whole = simulate(run.replace(out=str(tmp_path / "whole")))
    before = torch.random.get_rng_state()
    torch.manual_seed(12345)
    assert stopped_and_resumed(run, tmp_path / "stopped", 1).digest == whole.digest
    torch.random.set_rng_state(before)


def test_no_ascent_is_the_base_bit_for_bit() -> None:
    """The second pass of SAM has the masks of the first."""
    plain = {"server.name": "fedavg", "client.rho": None}
    sam = simulate(described(**{**plain, "client.name": "sam", "client.rho": 0.0}))
    sgd = simulate(described(**{key: value for key, value in plain.items() if value} | {"client.name": "sgd"}))
    assert sam.digest == sgd.digest


def plans(run: Run, round: int) -> list[ClientPlan]:
    simulation = Simulation(run)
    for _ in range(round):
        simulation.advance()
    return simulation.context.plan(simulation.federation, simulation.order(simulation.clock(), 0.1))[1]


def test_every_client_round_and_step_has_a_key_of_its_own() -> None:
    run = described(cohort=7, **{"server.name": "fedavg"})
    found = [tuple(key) for round in range(2) for plan in plans(run, round) for key in plan.key_T2.tolist()]  # type: ignore[union-attr]
    assert len(set(found)) == len(found) > 20


def test_a_network_without_dropout_has_no_keys() -> None:
    assert all(plan.key_T2 is None for plan in plans(described(**{"model.p": 0.0}), 0))


def test_evaluation_drops_nothing() -> None:
    simulation = Simulation(described())
    context, inputs = simulation.context, torch.ones(2, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(
        context.outputs(Weights(simulation.theta_P), inputs), context.outputs(Weights(simulation.theta_P), inputs)
    )
