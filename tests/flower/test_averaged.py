"""SWA, EMA and WiMA around strategies of Flower's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.supercore.task_identity import TaskIdentity

from fedsam import InputError
from fedsam.flower.adapter import AsFlower
from fedsam.flower.averaged import Averaged
from fedsam.strategies import SWA

pytestmark = pytest.mark.usefixtures("identity")


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower sets in the process of a ServerApp."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Halves:
    """Two nodes of one and three examples; each goes half of the way to a target of its own, counters by one."""

    def __init__(self, silent: int = 0) -> None:
        self.silent = silent
        self.asked: dict[str, list[tuple[np.ndarray, ConfigRecord]]] = {MessageType.TRAIN: [], MessageType.EVALUATE: []}

    def get_node_ids(self) -> list[int]:
        return [1, 2]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self.reply(message) for message in messages]

    def reply(self, message: Message) -> Message:
        node, arrays, config = message.metadata.dst_node_id, message.content["arrays"], message.content["config"]
        weights = arrays["w"].numpy()
        if node == 1:
            self.asked[message.metadata.message_type].append((weights, config.copy()))
        if config["server-round"] == self.silent:
            return Message(Error(0, "gone"), reply_to=message)
        metrics = MetricRecord({"num-examples": [1, 3][node - 1]})
        if message.metadata.message_type == MessageType.EVALUATE:
            return Message(RecordDict({"metrics": metrics}), reply_to=message)
        trained = {"w": (weights + TARGETS[node - 1]) / 2, "seen": arrays["seen"].numpy() + 1}
        record = ArrayRecord({name: Array(np.asarray(value)) for name, value in trained.items()})
        return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)


TARGETS = np.array([[4.0, 0.0, -4.0], [0.0, 8.0, 4.0]])
MEAN = (TARGETS[0] + 3 * TARGETS[1]) / 4
ROUNDS = 8


def initial() -> ArrayRecord:
    return ArrayRecord({"w": Array(np.ones(3)), "seen": Array(np.asarray(5))})


def raw_models() -> list[np.ndarray]:
    """FedAvg's model after each round: w ← (w + mean target) / 2."""
    found = [np.ones(3)]
    for _ in range(ROUNDS):
        found.append((found[-1] + MEAN) / 2)
    return found[1:]


def served_by(average: dict[str, Any], raw: list[np.ndarray], i: int) -> np.ndarray:
    """What is served after round i, by the averages' definitions."""
    if average["name"] == "swa":  # rounds 5 and 7 end the cycles of two from round 4 on
        return np.mean([raw[j] for j in (5, 7) if j <= i] or [raw[i]], axis=0)
    if average["name"] == "wima":
        return np.mean(raw[max(0, i - 2) : i + 1], axis=0)
    mean = raw[0]
    for model in raw[1 : i + 1]:
        mean = 0.9 * mean + 0.1 * model
    return mean


AVERAGES: list[dict[str, Any]] = [
    {"name": "swa", "start": 0.5, "cycle": 2, "lr_end": 0.01},
    {"name": "ema", "decay": 0.9},
    {"name": "wima", "window": 3},
]


@pytest.mark.parametrize("average", AVERAGES, ids=lambda average: average["name"])
def test_around_fedavg_by_hand(average: dict[str, Any]) -> None:
    grid, evaluated, raw = Halves(), dict[int, np.ndarray](), raw_models()

    def evaluate(number: int, arrays: ArrayRecord) -> None:
        evaluated[number] = arrays["w"].numpy()

    result = Averaged(flower.FedAvg(), average, lr=0.1).start(grid, initial(), ROUNDS, evaluate_fn=evaluate)
    sent, asked = grid.asked[MessageType.TRAIN], grid.asked[MessageType.EVALUATE]
    np.testing.assert_array_equal(evaluated[0], np.ones(3))
    for i in range(ROUNDS):
        np.testing.assert_allclose(sent[i][0], raw[i - 1] if i else np.ones(3), rtol=1e-14)  # never the average
        cyclic = average["name"] == "swa" and i >= 4
        assert sent[i][1]["lr"] == pytest.approx([0.055, 0.01][i % 2] if cyclic else 0.1)
        np.testing.assert_allclose(asked[i][0], served_by(average, raw, i), rtol=1e-14)
        np.testing.assert_allclose(evaluated[i + 1], served_by(average, raw, i), rtol=1e-14)
    np.testing.assert_allclose(result.arrays["w"].numpy(), served_by(average, raw, ROUNDS - 1), rtol=1e-14)
    assert result.arrays["seen"].numpy() == 5 + ROUNDS


def test_a_strategy_inside_goes_its_own_way() -> None:
    """FedAdam, and Flower's own wrapper for privacy around FedAvg, send and aggregate as without the average."""
    makes = {
        "adam": lambda: flower.FedAdam(eta=0.1),
        "private": lambda: flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(), 0.0, 0.5, 2),
    }
    for name, make in makes.items():
        plain, around = Halves(), Halves()
        make().start(plain, initial(), 4)
        Averaged(make(), {"name": "wima", "window": 2}).start(around, initial(), 4)
        for (bare, _), (wrapped, config) in zip(*(g.asked[MessageType.TRAIN] for g in (plain, around)), strict=True):
            np.testing.assert_array_equal(bare, wrapped, err_msg=name)
            assert "lr" not in config


def test_a_round_without_replies_counts_the_model_that_was_sent() -> None:
    result = Averaged(flower.FedAvg(), {"name": "wima", "window": 2}).start(Halves(silent=2), initial(), 2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), raw_models()[0], rtol=1e-14)


def test_same_as_the_adapter_with_fedsams_own_fedavg() -> None:
    average = SWA(start=0.5, cycle=2)
    ours = AsFlower("fedavg", average, lr=0.1).start(Halves(), initial(), ROUNDS)
    theirs = Averaged(flower.FedAvg(), average, lr=0.1).start(Halves(), initial(), ROUNDS)
    np.testing.assert_allclose(ours.arrays["w"].numpy(), theirs.arrays["w"].numpy(), rtol=1e-14)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(InputError, match=r"average.name = median: .*there are ema, none, swa, wima"):
        Averaged(flower.FedAvg(), "median")
    with pytest.raises(InputError, match=r"average.cycle = 10: no model would be captured"):
        Averaged(flower.FedAvg(), "swa").start(Halves(), initial(), 4)
    with pytest.raises(InputError, match=r"num_rounds = 3: must be 4"):
        Averaged(flower.FedAvg(), "ema", rounds=4).start(Halves(), initial(), 3)
    with pytest.raises(InputError, match=r"strategy = AsFlower: has a `start` of its own"):
        Averaged(AsFlower(), "ema")
