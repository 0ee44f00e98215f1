"""The Flower app: its configuration, the ClientApp, and the round loop over messages."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsam import InputError, Run, RunError, resume, simulate
from fedsam.engine.flower import Flower
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged

pytest.importorskip("flwr")
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode

from fedsam.flower import settings
from fedsam.flower.names import ARRAYS, CONFIG, METRICS
from fedsam.flower.records import arrays_of, theta_from
from fedsam.flower.server_app import app as server_app
from tests.support.flower_grid import Nodes, error, inside_flower  # noqa: F401
from tests.support.unruly import Broken

pytestmark = pytest.mark.usefixtures("inside_flower")
ROOT = Path(__file__).parents[2]


def described(**changes: Any) -> Run:
    keys = {"data": Ragged(), "cohort": 4, "rounds": 3, "evaluate_every": 1, "client.name": "sam", "engine.threads": 1}
    return Run.from_keys({**keys, "average.name": "swa", "average.cycle": 1, "average.start": 0.4, **changes})


def over(run: Run, grid: Nodes, **changes: Any) -> Run:
    return run.replace(engine=Flower(threads=1, **changes).over(grid))


def test_the_configuration_lists_every_key_with_its_default() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]

    def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in table.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return found

    assert flat(listed) == settings.table()
    assert "client.rho" in settings.table()
    for name, value in Run().keys().items():
        assert settings.table()[name] in ("none" if value is None else value, settings.OWN)


def test_the_configuration_describes_a_run() -> None:
    table = settings.table()
    assert settings.run_of(table) == Run(engine=Flower())
    run = settings.run_of({**table, "client.name": "asam", "data.alpha": 0.1, "rounds": 5})
    assert run == Run.from_keys({"client.name": "asam", "data.alpha": 0.1, "rounds": 5, "engine.name": "flower"})
    assert settings.run_of({**table, "client.name": "sam", "client.rho": 0.7}).client.keys()["rho"] == 0.7
    assert settings.run_of(table, data__clients=20).data.clients == 20
    assert settings.run_of({**table, "data.clients": 30}, data__clients=20).data.clients == 30
    more = {**table, "model.name": "fedsam.models.mlp:MLP", settings.MORE: "model.width=8 client.lr=0.5"}
    assert settings.run_of(more).keys()["model.width"] == 8
    with pytest.raises(InputError, match=r"engine\.name = loop: a Flower app is run by Flower"):
        settings.run_of({**table, "engine.name": "loop"})
    with pytest.raises(InputError, match="more = width: must be key=value"):
        settings.run_of({**table, settings.MORE: "width"})
    with pytest.raises(InputError, match=r"client\.rho = 0\.7: no such key here"):
        settings.run_of({**table, "client.rho": 0.7})


@pytest.mark.parametrize("seed", [0, 1])
def test_messages_give_the_bits_of_the_loop(seed: int) -> None:
    """Bit for bit at one thread, whatever the node ids and the order of replies."""
    grid = Nodes(7, seed)
    here, there = simulate(described(**{"engine.name": "loop"})), simulate(over(described(), grid))
    assert there.digest == here.digest
    for one, other in zip(here.metrics, there.metrics, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
        assert {k: one[k] for k in ("clients", "lr", "bytes_up")} == {
            k: other[k] for k in ("clients", "lr", "bytes_up")
        }
    assert [kind for kind, _ in grid.log].count("query") == 7
    assert sorted(client for kind, client in grid.log if kind == "train") == sorted(
        client for record in here.metrics for client in record["clients"]
    )


def test_a_run_over_messages_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run = described(rounds=6, checkpoint_every=1)
    simulate(over(run, Nodes(7, 0)).replace(out=str(whole)))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(over(run, Nodes(7, 1)).replace(out=str(stopped)), listener, listener.stop)
    resume(stopped, engine=Flower(threads=1).over(Nodes(7, 2)))
    assert outcome(whole) == outcome(stopped)


def test_a_node_that_is_gone_costs_its_client_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The round goes on with weights that sum to 1; the node's return is noticed."""
    grid = Nodes(7)
    simulation = Simulation(over(described(cohort=7), grid))
    simulation.advance()
    grid.leave(3)
    ids, _ = simulation.advance()
    assert ids == [0, 1, 2, 4, 5, 6]
    assert "round 2: client 3: it has no node; the round goes on without it" in caplog.messages
    grid.join(3)
    ids, _ = simulation.advance()
    assert ids == list(range(7))


class Clock:
    """Time that passes while one sleeps, and not otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_node_that_dies_or_is_slow_in_mid_round_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsam.flower.grid.time", Clock())
    monkeypatch.setattr("fedsam.flower.grid.ALIVE", 0.05)
    grid = Nodes(7)
    simulation = Simulation(over(described(cohort=7), grid, timeout=0.5))

    def dies(message: Message, partition: int) -> Message | None:
        if partition == 6:
            grid.leave(2)
        return error(message, ErrorCode.NODE_UNAVAILABLE, "Node Unavailable") if partition == 5 else None

    grid.before = dies
    grid.rng.shuffle = lambda line: line.sort(key=str) if isinstance(line[0], int) else None  # type: ignore[assignment]
    ids, _ = simulation.advance()
    assert 5 not in ids
    assert "round 1: client 5: Node Unavailable; the round goes on without it" in caplog.messages
    assert {0, 1, 3, 4, 6} <= set(ids)
    stuck = Simulation(over(described(cohort=7), late := Nodes(7), timeout=0.3))
    late.away |= {node for node, c in late.contexts.items() if c.node_config["partition-id"] == 1}
    late.get_node_ids = lambda: list(late.contexts)  # type: ignore[method-assign]
    ids, _ = stuck.advance()
    assert ids == [0, 2, 3, 4, 5, 6]
    assert "round 1: client 1: no answer within 0 s (engine.timeout); the round goes on without it" in caplog.messages


def test_a_client_that_raises_stops_the_run_and_is_named(tmp_path: Path) -> None:
    grid = Nodes(7)
    grid.before = lambda message, partition: (
        error(message, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "ValueError: odd (mine.py:3)\nTraceback ...")
        if partition == 4 and message.metadata.message_type == MessageType.TRAIN
        else None
    )
    out = tmp_path / "run"
    with pytest.raises(
        RunError, match=r"round 1: client 4: ValueError: odd \(mine.py:3\); engine.on_client_error=skip"
    ):
        simulate(over(described(cohort=7, out=str(out)), grid))
    assert "Traceback ..." in (out / "failures.log").read_text()
    result = simulate(over(described(cohort=7), grid, on_client_error="skip"))
    assert result.metrics[0]["clients"] == [0, 1, 2, 3, 5, 6]
    changes = {"cohort": 7, "client.name": "sgd", "server.name": "fedcm"}  # whose clients upload what is averaged
    there = simulate(over(described(**changes), grid, on_client_error="skip"))
    skipping = {**changes, "data": Broken(), "engine.on_client_error": "skip", "engine.name": "loop"}
    assert there.digest == simulate(described(**skipping)).digest


def test_a_process_of_flower_that_died_is_told_in_words() -> None:
    grid = Nodes(7)
    died = "<class 'ray.exceptions.ActorDiedError'>:<'The actor died before finishing this task.\n\tclass'>"
    grid.before = lambda message, partition: (
        error(message, ErrorCode.UNKNOWN, died)
        if partition == 4 and message.metadata.message_type == MessageType.TRAIN
        else None
    )
    said = r"round 1: client 4: the Ray process that worked on it died each time it was tried \(ActorDiedError\); if"
    with pytest.raises(RunError, match=said):
        simulate(over(described(cohort=7), grid))


def test_nodes_that_contradict_each_other_are_refused() -> None:
    grid = Nodes(3)
    grid.join(1)
    with pytest.raises(RunError, match="two Flower nodes say that they are partition 1"):
        Simulation(over(described(data=Ragged(clients=3), cohort=2), grid))
    with pytest.raises(
        RunError, match=r"cannot take part: InputError: partition-id = \d: there are 3 clients, from 0 on"
    ):
        Simulation(over(described(data=Ragged(clients=3), cohort=2), Nodes(5)))
    with pytest.raises(RunError, match="no Flower node connected within 0 s"):
        Simulation(over(described(), Nodes(0), wait=0.0))


def test_a_node_that_is_lost_while_it_is_asked_is_asked_again() -> None:
    grid, lost = Nodes(7), {"left": 2}

    def flaky(message: Message, partition: int) -> Message | None:
        if partition != 3 or not lost["left"]:
            return None
        lost["left"] -= 1
        return error(message, ErrorCode.NODE_UNAVAILABLE, "Node Unavailable")

    grid.before = flaky
    simulation = Simulation(over(described(cohort=7), grid, wait=0.0))  # for others; those that connect are heard out
    ids, _ = simulation.advance()
    assert ids == list(range(7))
    assert [kind for kind, partition in grid.log if partition == 3] == ["query"] * 3 + ["train"]


def test_missing_nodes_are_waited_for_and_then_done_without(caplog: pytest.LogCaptureFixture) -> None:
    Simulation(over(described(), Nodes(5), wait=0.2))
    assert "going on with 5 of 7 nodes; without one: clients 5, 6" in caplog.messages


def message(kind: str, run: Run, theta_P: torch.Tensor | None = None, **config: Any) -> Message:
    keys = json.dumps({name: value for name, value in run.keys().items() if value is not None})
    content = RecordDict({CONFIG: ConfigRecord({"run": keys, **config})})
    if theta_P is not None:
        content[ARRAYS] = arrays_of(Simulation(run).context.layout, theta_P)
    return Message(content, 1, kind)


def answer(kind: str, run: Run, partition: int, theta_P: torch.Tensor | None = None, **config: Any) -> Message:
    from fedsam.flower.client_app import app

    node = Context(1, 1, {"partition-id": partition}, RecordDict(), {})
    return app(message(kind, run, theta_P, **config), node)


def test_the_client_app_trains_from_the_weights_it_is_sent() -> None:
    run = described(**{"engine.name": "loop"})
    simulation = Simulation(run)
    sent_P = simulation.theta_P + 0.01
    order = simulation.order(simulation.clock(), 0.05)
    reply = answer(MessageType.TRAIN, run, order.ids[1], sent_P, **{"server-round": 1, "lr": 0.05})
    (block,) = simulation.trainer.train(sent_P, order.part([1]))
    client_P = theta_from(simulation.context.layout, reply.content.array_records[ARRAYS], sent_P)
    assert torch.equal(client_P - sent_P, block.update_JP[0])
    metrics = reply.content.metric_records[METRICS]
    assert metrics["num-examples"] == simulation.federation.sizes([order.ids[1]])[0]
    assert metrics["train_loss"] == pytest.approx(float(block.loss_K[0]), rel=1e-6)
    assert metrics["partition-id"] == order.ids[1]


def test_the_client_app_evaluates_on_the_local_test_set() -> None:
    run = Run.from_keys({"data.clients": 5, "data.local_test": 0.25, "engine.threads": 1})
    simulation = Simulation(run)
    reply = answer(MessageType.EVALUATE, run, 3, simulation.theta_P)
    metrics = reply.content.metric_records[METRICS]
    store, (index,) = simulation.federation.local_test([3])
    context = simulation.context
    images = torch.from_numpy(np.array(store.inputs[index]))
    logits = context.module(context.prepare(images)).detach()
    labels = torch.from_numpy(store.targets[index])
    assert metrics["num-examples"] == len(index) > 0
    assert metrics["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert metrics["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    without = answer(MessageType.EVALUATE, Run.from_keys({"data.clients": 5}), 3, simulation.theta_P)
    assert "data.local_test = 0.0: client 3 holds out no test examples" in without.error.reason


def test_what_goes_wrong_at_a_client_is_answered_with_its_traceback() -> None:
    run = described()
    reply = answer(MessageType.TRAIN, run, 99, Simulation(described(**{"engine.name": "loop"})).theta_P)
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert re.match(r"InputError: partition-id = 99: .*\(local.py:\d+\)\nTraceback", reply.error.reason or "")
    reply = answer(MessageType.TRAIN, run, 0)
    assert (reply.error.reason or "").startswith("InputError: arrays: the message holds no weights")


def test_a_node_says_who_it_is() -> None:
    from fedsam.flower.client_app import app

    node = Context(1, 1, {"partition-id": 2, "num-partitions": 9}, RecordDict(), {})
    bare = app(Message(RecordDict(), 1, MessageType.QUERY), node)
    assert dict(bare.content.metric_records[METRICS]) == {"partition-id": 2, "num-partitions": 9}
    asked = answer(MessageType.QUERY, described(), 2)
    assert dict(asked.content.metric_records[METRICS]) == {"partition-id": 2, "num-examples": 4}


def run_app(grid: Nodes, **config: Any) -> None:
    server_app(grid, Context(1, 0, {}, RecordDict(), {**settings.table(), **config}))


def test_the_server_app_runs_what_its_configuration_describes(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"client.name": "sam", "rounds": 2, "engine.threads": 1, "cohort": 3}
    run_app(Nodes(8), **config)
    out = inside / "runs" / "digits-sam-fedavg-clients8-rounds2-cohort3-seed0"
    assert f"out: {out}" in capsys.readouterr().out
    described = json.loads((out / "run.json").read_text())["keys"]
    assert (described["data.clients"], described["engine.name"]) == (8, "flower")
    here = simulate(Run.from_keys({**config, "data.clients": 8, "engine.name": "loop"}))
    assert f"digest: {here.digest}" in (run_app(Nodes(8), **config), capsys.readouterr().out)[1]
    run_app(Nodes(8), **{**config, "rounds": 4, "out": "short", "checkpoint_every": 1})
    (inside / "short" / "model.safetensors").unlink()
    run_app(Nodes(8, seed=5), resume="short")
    assert (inside / "short" / "model.safetensors").exists()


def test_the_server_app_says_which_node_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Nodes(1)
    monkeypatch.setattr(grid, "send_and_receive", lambda messages, timeout: [])
    with pytest.raises(RunError, match=r"Flower node \d+ connected, and has not answered for 600 s"):
        run_app(grid, rounds=1)


def test_the_server_app_refuses_another_number_of_clients(inside: Path) -> None:
    with pytest.raises(InputError, match=r"data\.clients = 30: there are 8 Flower nodes"):
        run_app(Nodes(8), **{"data.clients": 30})
    run_app(Nodes(8, says=False), **{"data.clients": 8, "rounds": 1, "cohort": 2})
    assert (inside / "runs").exists()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_the_bundle_holds_the_packages_and_stays_small() -> None:
    import io
    import zipfile

    from flwr.cli.build import build_fab_from_disk

    bundle = build_fab_from_disk(ROOT)
    names = set(zipfile.ZipFile(io.BytesIO(bundle)).namelist())
    assert {"fedsam/flower/client_app.py", "strategies/fedavg.py", "pyproject.toml", "LICENSE"} <= names
    assert not [name for name in names if name.startswith((".venv", "runs/"))]
    assert len(bundle) < 4 * 2**20  # Flower takes 10 MiB
