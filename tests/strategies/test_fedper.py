"""FedPer: what stays with a client, what travels, and who is measured by what."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsam import InputError, Run, resume, simulate
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.runs.result import Result
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt, outcome

KEYS: dict[str, Any] = {"data.alpha": 0.05, "data.clients": 8, "data.local_test": 0.3, "cohort": 4, "rounds": 6}
KEYS |= {"evaluate_every": 3, "local.every": 3, "client.name": "sam", "client.rho": 0.05, "client.lr": 0.1}
KEYS |= {"engine.threads": 1}
MASKS = {"data.name": "shapes", "data.size": 32, "data.clients": 8, "model.name": "bisenetv2", "model.width": 16}
LAST = 64 * 10 + 10


def own(**changes: Any) -> Run:
    return Run.from_keys({**KEYS, "server.name": "fedper", **changes})


def fraction(result: Result) -> float:
    """Of the clients' test examples, classified right by their own models."""
    found: float = result.metrics[-1]["local"]["before"]["mean"]
    return found


def test_clients_with_a_head_of_their_own_do_better_on_their_own_data() -> None:
    """Hardly a client has more than two labels here."""
    alone, shared = simulate(own()), simulate(own(**{"server.name": "fedavg"}))
    assert fraction(alone) > fraction(shared) + 0.1
    assert alone.metrics[-1]["local"]["after"]["mean"] > fraction(shared)


def test_what_stays_does_not_travel() -> None:
    alone, shared = simulate(own()), simulate(own(**{"server.name": "fedavg"}))
    for field in ("bytes_up", "bytes_down"):
        saved = [one[field] - other[field] for one, other in zip(shared.metrics, alone.metrics, strict=True)]
        assert saved == [3 * 4 * LAST * 4] * 2  # three rounds, four clients, four bytes


def test_the_shared_model_has_the_head_that_all_began_with() -> None:
    run = own()
    first, last = Simulation(run).theta_P[-LAST:], simulate(run).state
    assert torch.equal(torch.cat([last["out.weight"].flatten(), last["out.bias"]]), first)
    assert not torch.equal(last["fc1.weight"].flatten(), Simulation(run).theta_P[: last["fc1.weight"].numel()])


def test_no_client_is_given_the_head_of_another() -> None:
    simulation = Simulation(own())
    for _ in range(3):
        simulation.advance()
    rows = simulation.client_state.rows(range(8))
    asked = [client for client in range(8) if rows["begun"][client] > 0]
    heads = rows["own"][asked][:, -LAST:]
    assert len(asked) > 4
    assert len(torch.unique(heads, dim=0)) == len(asked)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stopped_run_ends_in_the_same_bytes(engine: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(own(**{"engine.name": engine, "out": str(whole), "checkpoint_every": 1}))
    listener = StopAt(4)
    with pytest.raises(Interrupted):
        simulate(own(**{"engine.name": engine, "out": str(stopped), "checkpoint_every": 1}), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_the_clients_file_is_of_their_own_models(tmp_path: Path) -> None:
    result = simulate(own(out=str(tmp_path / "run")))
    found = json.loads((tmp_path / "run" / "clients.json").read_text())
    assert found["accuracy"] == result.metrics[-1]["local"]["before"]["accuracy"]
    assert found["accuracy"] != result.metrics[0]["local"]["before"]["accuracy"]


class HeadFirst(nn.Module):
    """Its head is declared before its body, and it has another output in training."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.head, self.body = nn.Linear(8, classes), nn.Linear(64, 8)
        self.auxiliary = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Any:
        features = self.body(images.flatten(1)).relu()
        return [self.head(features), self.auxiliary(features)] if self.training else self.head(features)


class Tied(nn.Module):
    """Its head has the weights of its first layer."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, classes), nn.Linear(classes, 64), nn.Linear(64, classes)
        self.last.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.middle(self.first(images.flatten(1)).relu()))


@pytest.mark.parametrize(
    ("keys", "stays"),
    [
        ({"model.name": f"{__name__}:HeadFirst"}, ["head.weight", "head.bias"]),
        ({"model.name": f"{__name__}:Tied"}, ["first.weight", "last.bias"]),
        ({"model.name": "resnet8", "model.width": 4}, ["out.weight", "out.bias"]),
        (MASKS, ["out.1.weight", "out.1.bias"]),
        ({"server.keep": "fc1.*+out.bias"}, ["fc1.weight", "fc1.bias", "out.bias"]),
    ],
)
def test_what_stays_is_the_layer_of_the_output_and_is_said(
    keys: dict[str, Any], stays: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    shown = {} if keys is MASKS else {"data.alpha": 0.05, "data.clients": 8}
    simulation = Simulation(Run.from_keys({"server.name": "fedper", "cohort": 4, **shown, **keys}))
    found = simulation.run.server.staying(simulation.context.layout)
    assert found == stays
    (told,) = [record.message for record in caplog.records if "stays with each client" in record.message]
    assert ", ".join(found) in told
    assert "local.every" in told


def test_ones_own_statistics_are_those_of_ones_own_model() -> None:
    keys = {"model.name": "resnet8", "model.width": 4, "model.norm": "batch", "server.batchnorm": "local"}
    simulation = Simulation(own(**keys, rounds=2))
    simulation.advance()
    adaptation, served = simulation._trial(0.1), simulation.statistics.of(simulation.theta_P, simulation.theta_P)
    kept = simulation.client_state.rows(range(8))["batchnorm"]
    norms = simulation.context.batchnorms
    assert norms is not None
    for client, weights in adaptation.before(range(8), served):
        own_S = norms.initial(served.theta_P) + kept[client]
        assert torch.equal(weights.statistics[0], own_S if kept[client].any() else served.statistics[0])


def test_where_nobody_reaches_the_clients_models_nothing_is_said_of_them() -> None:
    simulation = Simulation(own())
    simulation.trainer.keeps_client_state = True
    found = simulation.measures.clients(6, simulation.theta_P, simulation.theta_P, simulation._trial(0.1))
    assert found == {
        "round": 6,
        "error": "RunError: clients' own models are at Flower's nodes; another engine can measure them",
    }


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"server.keep": "fc9.*"}, "server.keep = fc9.*: fits no parameter of this model; its last are"),
        ({"server.keep": "*"}, "fits all parameters, so that nothing is shared"),
        ({"compress.name": "topk"}, "a part of each update stays with its client"),
        ({"privacy.name": "gaussian"}, "more than one clipped vector"),
        ({"data.validation": 0.2}, "in which nobody trains what server.name=fedper leaves with clients"),
        ({"system.sampling": "power_of_choice"}, "in which nobody trains what server.name=fedper leaves with clients"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        simulate(own(**keys))
