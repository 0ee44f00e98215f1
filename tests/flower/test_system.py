"""System heterogeneity over Flower's messages: the bits of the loop, and only those are asked that deliver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsam import Run, resume, simulate
from fedsam.engine.flower import Flower
from fedsam.errors import Interrupted
from tests.support.interrupted import TIMES, StopAt, outcome
from tests.support.ragged import Ragged

pytest.importorskip("flwr")
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

from fedsam.flower import local
from fedsam.flower.names import ARRAYS, CONFIG
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401

pytestmark = pytest.mark.usefixtures("inside_flower")
REAL = {"system.name": "simulated", "system.dropout": 0.2, "system.work_min": 0.2, "system.spread": 0.8}
REAL |= {"system.deadline": 12.0, "system.late": "partial", "system.available": 0.8, "diagnostics.every": 2}
LOOSE = (*TIMES, "train_loss")  # which is summed in another precision


def described(**changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 8, "cohort": 7, "rounds": 4, "evaluate_every": 1, "engine.threads": 1}
    return Run.from_keys({**keys, **REAL, "client.name": "sam", **changes})


def over(run: Run, grid: Nodes) -> Run:
    return run.replace(engine=Flower(threads=1).over(grid))


def test_messages_give_the_bits_of_the_loop() -> None:
    grid = Nodes(7)
    here, there = simulate(described(**{"engine.name": "loop"})), simulate(over(described(), grid))
    assert there.digest == here.digest
    for one, other in zip(here.metrics, there.metrics, strict=True):
        assert {k: v for k, v in one.items() if k not in LOOSE} == {k: v for k, v in other.items() if k not in LOOSE}
    asked = sorted(client for kind, client in grid.log if kind == "train")
    assert asked == sorted(client for record in here.metrics for client in record["clients"])
    assert sum(record["turnout"]["shortened"] for record in here.metrics) > 3


def test_a_run_over_messages_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run = described(rounds=6, checkpoint_every=1, evaluate_every=3)
    simulate(over(run, Nodes(7, 0)).replace(out=str(whole)))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(over(run, Nodes(7, 1)).replace(out=str(stopped)), listener, listener.stop)
    resume(stopped, engine=Flower(threads=1).over(Nodes(7, 2)))
    assert outcome(whole) == outcome(stopped)


def test_a_message_that_asks_for_no_steps_is_refused() -> None:
    run = Run.from_keys({"data.clients": 5, "cohort": 2})
    config = ConfigRecord({"server-round": 1, "steps": 0})
    content = RecordDict({ARRAYS: local.initial_arrays(run), CONFIG: config})
    message = Message(content, dst_node_id=1, message_type=MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = "one"
    answer = local.train(message, Context(1, 1, {"partition-id": 0, "num-partitions": 5}, RecordDict(), {}), run)
    assert answer.has_error()
    assert "steps = 0: must be at least 1" in answer.error.reason
