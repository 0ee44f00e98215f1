"""Flower's strategies as the server of a fedsam run, and fedsam's in somebody else's Flower app."""

from __future__ import annotations

import logging
import pickle
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as stock
from flwr.supercore.task_identity import TaskIdentity

from fedsam import InputError, Run, RunError, resume, simulate
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find
from fedsam.errors import Interrupted
from fedsam.flower.adapter import AsFlower
from fedsam.flower.stock import FromFlower
from fedsam.schedule.base import Clock
from strategies.averages.swa import SWA
from strategies.fedavg import FedAvg
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt

HERE = __name__
KEYS = {"data.clients": 10, "cohort": 5, "client.epochs": 1, "rounds": 3, "evaluate_every": 3}


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower sets in the process of a ServerApp."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    monkeypatch.setattr("gc.collect", lambda: 0)  # Bulyan collects after every client, for 0.1 s


class Mine(stock.FedAvg):
    """Keeps all kinds of things, and draws."""

    def __init__(self, *, scale: float, bonus: float | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.scale, self.bonus, self.rounds, self.past = scale, bonus, 0, list[np.ndarray]()

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        arrays, metrics = super().aggregate_train(server_round, replies)
        self.rounds += 1
        self.past.append(arrays["theta"].numpy())
        weights = np.arange(1, len(self.past) + 1, dtype=np.float32)[:, None]
        mixed = self.scale * (weights * np.stack(self.past)).mean(axis=0)
        return ArrayRecord({"theta": Array((mixed + self.rounds * np.random.rand()).astype("f4"))}), metrics  # noqa: NPY002


class Holds(stock.FedAvg):
    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        self.seen = {"somebody"}
        return super().aggregate_train(server_round, replies)


def record(flat_P: np.ndarray) -> ArrayRecord:
    return ArrayRecord({"a": Array(flat_P[:4].reshape(2, 2)), "b": Array(flat_P[4:].copy())})


def rounds_of(number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(number)
    return [(torch.randn(7, 7, generator=g), torch.rand(7, generator=g).softmax(0))]


def run_of(server: str, **changes: Any) -> Run:
    return Run.from_keys({**KEYS, "server.name": server, **changes})


EACH: dict[str, dict[str, Any]] = {
    "FedAvg": {}, "FedAvgM": {"server_learning_rate": 0.7, "server_momentum": 0.9}, "FedAdam": {"eta": 0.03},
    "FedYogi": {}, "FedAdagrad": {}, "FedMedian": {}, "FedTrimmedAvg": {"beta": 0.15},
    "Krum": {"num_malicious_nodes": 1}, "MultiKrum": {"num_nodes_to_select": 3}, "Bulyan": {"num_malicious_nodes": 1},
}  # fmt: skip


@pytest.mark.usefixtures("identity")
@pytest.mark.parametrize("name", EACH)
def test_three_rounds_are_those_of_flower_with_a_model_of_two_arrays(name: str) -> None:
    """So neither the way of the state nor where a model is cut plays a part."""
    theirs = getattr(stock, name)(**EACH[name])
    ours = FromFlower(theirs)
    theta_P, state = torch.linspace(-1, 1, 7), {}
    by_hand_P = theta_P.numpy().copy()
    for i in range(3):
        ((delta_KP, weight_K),) = updates = rounds_of(i)
        theirs.configure_train(i + 1, record(by_hand_P), ConfigRecord(), FakeGrid(range(1, 8)))
        replies = []
        for k in range(7):
            metrics = MetricRecord({"num-examples": float(weight_K[k])})
            content = RecordDict({"arrays": record(by_hand_P + delta_KP[k].numpy()), "metrics": metrics})
            replies.append(Message(content, dst_node_id=1, message_type=MessageType.TRAIN))
        arrays, _ = theirs.aggregate_train(i + 1, replies)
        by_hand_P = np.concatenate([a.numpy().ravel() for a in arrays.values()]).astype("f4")
        theta_P, state = ours.step(theta_P, updates, state, Clock(i, 3))
        np.testing.assert_array_equal(theta_P.numpy(), by_hand_P)


def test_by_hand() -> None:
    theta_P, updates = torch.linspace(-1, 1, 7), rounds_of(0)
    client_KP = (theta_P + updates[0][0]).numpy()
    halves = [(updates[0][0][:3], updates[0][1][:3]), (updates[0][0][3:], updates[0][1][3:])]

    def after(strategy: stock.Strategy) -> np.ndarray:
        return FromFlower(strategy).step(theta_P, halves, {}, Clock(0, 1))[0].numpy()

    np.testing.assert_array_equal(after(stock.FedMedian()), np.median(client_KP, axis=0))
    trimmed = np.sort(client_KP, axis=0)[1:-1].mean(axis=0)
    np.testing.assert_allclose(after(stock.FedTrimmedAvg(beta=0.15)), trimmed, rtol=1e-6)
    distance_KK = ((client_KP[:, None] - client_KP[None]) ** 2).sum(axis=2)
    scores = np.sort(distance_KK, axis=1)[:, 1:5].sum(axis=1)  # 7 clients, one of them malicious
    np.testing.assert_array_equal(after(stock.Krum(num_malicious_nodes=1)), client_KP[scores.argmin()])


@pytest.mark.parametrize("engine", ENGINES)
def test_flowers_fedavg_is_fedavg(engine: str) -> None:
    before, numpys = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    theirs = simulate(run_of("flwr:FedAvg", **{"engine.name": engine})).state
    ours = simulate(run_of("fedavg", **{"engine.name": engine})).state
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-6, atol=1e-7)
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    assert TaskIdentity._run_id is None
    assert not logging.getLogger("flwr").filters


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["flwr:FedAdam", "flwr:FedAvgM", f"{HERE}:Mine"])
def test_a_stopped_run_ends_in_the_same_bytes(tmp_path: Path, name: str, engine: str) -> None:
    more = {"flwr:FedAvgM": {"server.server_momentum": 0.9}, f"{HERE}:Mine": {"server.scale": 0.1}}
    keys = {**more.get(name, {}), "engine.name": engine, "rounds": 14}
    undisturbed, stop = simulate(run_of(name, **keys)).digest, StopAt(12)
    with pytest.raises(Interrupted):
        simulate(run_of(name, out=str(tmp_path / "run"), **keys), stop, stop.stop)
    np.random.seed(len(name))  # noqa: NPY002, as in another process
    assert resume(tmp_path / "run").digest == undisturbed


def test_names_and_keys() -> None:
    run = run_of("flwr:Krum", **{"server.num_malicious_nodes": 2, "cohort": 1})
    assert run.keys()["server.name"] == "flwr:Krum"
    assert Run.from_keys(run.keys()) == run == run.replace(server=FromFlower(stock.Krum(num_malicious_nodes=2)))
    assert run_of("flwr.serverapp.strategy:Krum", **{"server.num_malicious_nodes": 2, "cohort": 1}) == run
    assert pickle.loads(pickle.dumps(run)) == run
    simulate(run)  # one client: Flower would wait for a second
    eta = find(Strategy, "flwr:FedAdam").model_fields["eta"]
    assert (eta.annotation, eta.default, eta.description) == (float, 0.1, "Server-side learning rate")
    mine = FromFlower(Mine(scale=2, bonus=1.0, fraction_train=0.1))
    shared = {field: info.default for field, info in Strategy.model_fields.items()}
    assert (mine.name, mine.keys()) == (f"{HERE}:Mine", {**shared, "scale": 2.0, "bonus": 1.0})
    assert set(mine.step(torch.ones(7), rounds_of(0), {}, Clock(0, 1))[1]) == {"past[0]", "rounds"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "flwr:Krumm"}, r"server.name = flwr:Krumm: .*did you mean 'flwr:Krum'\? there are flwr:Bulyan, "),
        (
            {"name": "flwr:Krum", "fraction_train": 1},
            "server.fraction_train = 1: no such key here; there are batchnorm, num_malicious_nodes",
        ),
        ({"name": "flwr:Krum", "num_malicious_nodes": 0.5}, "server.num_malicious_nodes = 0.5: must be a whole number"),
        ({"name": "flwr:FedTrimmedAvg", "beta": 0.5}, r"server.beta = 0.5: Flower refuses it: .*range \[0, 0.5\)"),
        ({"name": "flwr:FedProx", "proximal_mu": 1}, "FedProx: asks its clients to follow 'proximal-mu'.*client.name"),
        ({"name": "flwr:QFedAvg"}, "QFedAvg: needs a metric of its clients .*'train_loss'.*flwr:FedAvg"),
        ({"name": "flwr:FedXgbBagging"}, "FedXgbBagging: aggregates decision trees.*use flwr:FedAvg"),
        ({"name": "flwr:DifferentialPrivacyServerSideFixedClipping"}, "wraps another strategy.*that strategy itself"),
        (
            {"name": "flwr:Result"},
            "must be a subclass of fedsam.algorithm.strategy.Strategy, or a strategy class of Flower's",
        ),
        ({"name": f"{HERE}:Mine"}, "server.scale: needs a value"),
    ],
)
def test_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Run.from_keys({f"server.{key}": value for key, value in keys.items()})


def test_refused_objects() -> None:
    with pytest.raises(InputError, match="has no 'Local'"):
        FromFlower(type("Local", (stock.FedAvg,), {"__module__": HERE})())
    with pytest.raises(InputError, match=r"train_metrics_aggr_fn = .*no key expresses it; give FedAvg fresh"):
        FromFlower(stock.FedAvg(train_metrics_aggr_fn=lambda contents, key: MetricRecord()))
    used = stock.FedAdam()
    used.m_t = {"a": np.ones(3)}
    with pytest.raises(InputError, match=r"m_t = .*give FedAdam fresh"):
        FromFlower(used)


def test_what_flower_cannot_do_stops_the_run() -> None:
    with pytest.raises(RunError, match=r"round 1: flwr:Bulyan could not aggregate 5 clients: Insufficient.* 7 "):
        simulate(run_of("flwr:Bulyan", **{"server.num_malicious_nodes": 1}))
    with pytest.raises(RunError, match="Holds holds 'seen', a set, between rounds; only numpy arrays and numbers"):
        simulate(run_of(f"{HERE}:Holds"))


class FakeGrid:
    """Nodes, each with a partition, that answer at once and in any order; it notes what they were sent."""

    def __init__(self, nodes: Iterable[int], seed: int = 0, dead: Iterable[int] = (), silent: int = 0) -> None:
        self.partition = {node: place for place, node in enumerate(nodes)}
        self.rng, self.dead, self.silent = random.Random(seed), set(dead), silent
        self.sent: list[tuple[str, ArrayRecord, ConfigRecord]] = []

    def get_node_ids(self) -> list[int]:
        return self.rng.sample(list(self.partition), len(self.partition))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        first, *_ = messages = list(messages)
        self.sent.append((first.metadata.message_type, first.content["arrays"], first.content["config"].copy()))
        return [self.reply(m) for m in self.rng.sample(messages, len(messages))]

    def reply(self, message: Message) -> Message:
        k = self.partition[message.metadata.dst_node_id]
        number = message.content["config"]["server-round"]
        if k in self.dead or number == self.silent:
            return Message(Error(0, "gone"), reply_to=message)
        metrics = MetricRecord({"num-examples": k + 1, "partition-id": k})
        if message.metadata.message_type == MessageType.EVALUATE:
            return Message(RecordDict({"metrics": metrics}), reply_to=message)
        arrays = ArrayRecord({n: Array(client(k, n, a.numpy())) for n, a in message.content["arrays"].items()})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def client(k: int, name: str, array: np.ndarray) -> np.ndarray:
    """What the client of a partition makes of an array."""
    if name == "seen":
        return np.asarray(array + k)
    target = np.random.default_rng([k, len(name)]).standard_normal(array.shape)
    return (array + 0.3 * (target - array)).astype(array.dtype)


def initial() -> ArrayRecord:
    arrays = {"w": np.ones((2, 3), "f4"), "seen": np.asarray(7), "half": np.zeros(2, "f2"), "bias": np.zeros(5, "f4")}
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def swa() -> AsFlower:
    return AsFlower(server=FedAvg(lr=0.7), average=SWA(start=0.5, cycle=2), lr=0.1)


def close(given: np.ndarray, wanted: np.ndarray, dtype: np.dtype[Any]) -> None:
    assert (given.dtype, given.shape) == (dtype, wanted.shape)
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=2e-3 if dtype == np.float16 else 1e-6)


def bytes_of(arrays: ArrayRecord) -> dict[str, bytes]:
    return {name: array.data for name, array in arrays.items()}


@pytest.mark.usefixtures("identity")
def test_fedavg_with_swa_by_hand_and_in_any_order() -> None:
    grid, evaluated, captured = FakeGrid(range(1, 6)), dict[int, ArrayRecord](), list[dict[str, np.ndarray]]()
    result = swa().start(grid, initial(), 8, evaluate_fn=lambda number, arrays: evaluated.update({number: arrays}))
    for seed in range(3):
        nodes = random.Random(seed).sample(range(10**6, 10**7), 5)
        assert bytes_of(swa().start(FakeGrid(nodes, seed), initial(), 8).arrays) == bytes_of(result.arrays)

    raw = {name: array.numpy() for name, array in initial().items()}
    trained, asked = [sent[1:] for sent in grid.sent[::2]], [sent[1] for sent in grid.sent[1::2]]
    for i in range(8):
        sent, config = trained[i]
        assert config["lr"] == pytest.approx(0.1 if i < 4 else [(0.1 + 1e-4) / 2, 1e-4][i % 2])
        mean = {n: sum((k + 1) / 15 * client(k, n, a.astype(a.dtype)) for k in range(5)) for n, a in raw.items()}
        for name, array in raw.items():
            close(sent[name].numpy(), array, array.dtype)
            step = np.rint(mean[name]) - array if name == "seen" else 0.7 * (mean[name] - array)
            raw[name] = np.asarray(array + step).astype(array.dtype)
        if i in (5, 7):
            captured.append(dict(raw))
        served = {n: np.mean([c[n] for c in captured], axis=0) if captured and n != "seen" else raw[n] for n in raw}
        for arrays in (evaluated[i + 1], asked[i], *([result.arrays] if i == 7 else [])):
            assert list(arrays) == ["w", "seen", "half", "bias"]
            for name, array in raw.items():
                close(arrays[name].numpy(), served[name], array.dtype)
    assert bytes_of(evaluated[0]) == bytes_of(initial()) and not np.allclose(served["w"], raw["w"], atol=1e-5)  # noqa: PT018


@pytest.mark.usefixtures("identity")
def test_failures_leave_the_others_or_the_model() -> None:
    strategy = AsFlower(server=FromFlower(stock.FedMedian()))
    result = strategy.start(FakeGrid(range(1, 6), dead=[1], silent=2), initial(), 2)
    median = np.median([client(k, "w", np.ones((2, 3), "f4")) for k in (0, 2, 3, 4)], axis=0)
    np.testing.assert_allclose(result.arrays["w"].numpy(), median, rtol=1e-6)
    assert strategy.aggregate_train(2, []) == (None, None)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(InputError, match=r"server.name = fedvag: .*did you mean 'fedavg'"):
        AsFlower(server="fedvag")
    with pytest.raises(InputError, match=r"average.cycle = 10: no model would be captured"):
        AsFlower(average="swa", rounds=4)
    with pytest.raises(InputError, match="num_rounds = 3: must be the total of rounds, 4"):
        AsFlower(rounds=4).start(FakeGrid([1]), initial(), 3)
