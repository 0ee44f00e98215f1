"""Privacy and compression in runs: engines agree, runs resume to the same bits, and Flower's messages are smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsam import Run, resume, simulate
from fedsam.engine.flower import Flower
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.params import Weights
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401
from tests.support.interrupted import TIMES, StopAt, outcome
from tests.support.ragged import Ragged

flwr = pytest.importorskip("flwr")
pytest.importorskip("dp_accounting")

ADAPTIVE = {"privacy.name": "gaussian_adaptive", "privacy.count_noise": 0.3}
KINDS: dict[str, dict[str, Any]] = {
    "topk": {"compress.name": "topk", "compress.share": 0.05},
    "randk": {"compress.name": "randk"},
    "qsgd": {"compress.name": "qsgd"},
    "sign": {"compress.name": "sign", "server.name": "scaffold"},
    "gaussian": {"privacy.name": "gaussian", "privacy.noise_by": "clients"},
    "adaptive, topk": {**ADAPTIVE, "compress.name": "topk", "compress.share": 0.05},
    "adaptive, qsgd": {**ADAPTIVE, "compress.name": "qsgd", "system.name": "simulated", "system.dropout": 0.3},
}
LOOSE = (*TIMES, "train_loss")  # which is summed in another precision
each = pytest.mark.parametrize("keys", KINDS.values(), ids=KINDS.keys())


def described(engine: str = "loop", **changes: Any) -> Run:
    keys = {"data": Ragged(), "cohort": 6, "rounds": 4, "evaluate_every": 1, "model.width": 8, "client.name": "sam"}
    return Run.from_keys({**keys, "engine.name": engine, "engine.threads": 1, **changes})


@each
def test_blocks_give_what_single_clients_do(keys: dict[str, Any]) -> None:
    """To rounding, in float64."""
    loop, cohort = (
        simulate(described(engine, **{**keys, "engine.precision": "fp64"})) for engine in ("loop", "cohort")
    )
    for name, tensor in loop.state.items():
        assert (tensor - cohort.state[name]).abs().max() < 1e-9
    for one, other in zip(loop.metrics, cohort.metrics, strict=True):
        assert one["bytes_up"] == other["bytes_up"]
        assert one.get("epsilon") == other.get("epsilon")
        assert one.get("clip") == pytest.approx(other.get("clip"))


@each
@pytest.mark.usefixtures("inside_flower")
def test_messages_give_the_bits_of_the_loop(keys: dict[str, Any]) -> None:
    there = simulate(described(**keys).replace(engine=Flower(threads=1).over(Nodes(7))))
    here = simulate(described(**keys))
    assert there.digest == here.digest
    for one, other in zip(here.metrics, there.metrics, strict=True):
        assert {k: v for k, v in one.items() if k not in LOOSE} == {k: v for k, v in other.items() if k not in LOOSE}


class Weighed(Nodes):
    """Notes the bytes of arrays in answers."""

    bytes = 0

    def pull_messages(self, message_ids: Any) -> Any:
        answers = super().pull_messages(message_ids)
        for answer in answers:
            for record in answer.content.array_records.values():
                self.bytes += sum(len(array.data) - 128 for array in record.values())  # without the head
        return answers


@pytest.mark.parametrize("name", ["topk", "randk", "qsgd", "sign"])
@pytest.mark.usefixtures("inside_flower")
def test_messages_are_as_small_as_is_counted(name: str) -> None:
    grid = Weighed(7)
    result = simulate(described(**{"compress.name": name}).replace(engine=Flower(threads=1).over(grid)))
    assert grid.bytes == sum(record["bytes_up"] for record in result.metrics)


@pytest.mark.usefixtures("inside_flower")
def test_other_servers_are_told_that_they_do_not_know_what_would_come() -> None:
    from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

    from fedsam.flower import local
    from fedsam.flower.names import ARRAYS, CONFIG

    run = Run.from_keys({"data.clients": 5, "cohort": 2, "compress.name": "sign"})
    content = RecordDict({ARRAYS: local.initial_arrays(run), CONFIG: ConfigRecord({"server-round": 1})})
    message = Message(content, dst_node_id=1, message_type=MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = "one"
    answer = local.train(message, Context(1, 1, {"partition-id": 0, "num-partitions": 5}, RecordDict(), {}), run)
    assert "other servers do not know what clients would send" in answer.error.reason


@pytest.mark.parametrize("engine", ["loop", "cohort"])
@pytest.mark.parametrize("keys", [KINDS["sign"], KINDS["adaptive, topk"]], ids=["sign", "adaptive, topk"])
def test_a_stopped_run_ends_in_the_same_bytes(tmp_path: Path, keys: dict[str, Any], engine: str) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run = described(engine, **keys, rounds=6, evaluate_every=2)
    simulate(run.replace(out=str(whole)))
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(run.replace(out=str(stopped)), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_clients_are_evaluated_with_what_they_trained_not_with_what_they_sent() -> None:
    keys = {"data.local_test": 0.3, "local.every": 1, "rounds": 1, "data.clients": 10, "cohort": 4, "client.epochs": 1}
    plain, signs = (simulate(Run.from_keys({**keys, "compress.name": name})) for name in ("none", "sign"))
    assert plain.metrics[0]["local"] != signs.metrics[0]["local"]  # the model is another
    found = []
    for name in ("none", "sign"):
        simulation = Simulation(Run.from_keys({**keys, "compress.name": name}))
        trial = simulation._trial(0.1)
        found.append({client: own.theta_P for client, own in trial([0, 1, 2], Weights(simulation.theta_P))})
    assert all(bool((found[0][client] == found[1][client]).all()) for client in (0, 1, 2))
