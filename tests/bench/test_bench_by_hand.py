"""The loops by hand do what ours does: the same batches lead to the same weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam.bench import paper_cnn
from fedsam.bench.common import by_hand
from fedsam.bench.common.by_hand import HandWritten
from fedsam.bench.common.work import MEAN, STD, Work
from fedsam.engine.context import DeviceSplit
from fedsam.engine.loop import Loop, LoopTrainer
from fedsam.engine.messages import Order
from fedsam.federated.round_loop import Simulation

WORK = Work(model={"name": "mlp", "width": 9}, clients=3, samples=10, cohort=2, batch=4, size=4, lr=0.3, decay=0.1)
CNN = Work(model={"name": "cnn", "channels": 2}, clients=2, samples=4, cohort=2, batch=2, size=16)


def store_of(work: Work) -> DeviceSplit:
    split = work.noise().load(0).examples([0])[0]
    return DeviceSplit(torch.from_numpy(split.inputs), torch.from_numpy(split.targets))


def flat(hand: HandWritten) -> Tensor:
    return torch.cat([w.detach().reshape(-1) for w in hand.weights()])


@pytest.mark.parametrize("name", paper_cnn.methods(WORK))
@pytest.mark.parametrize("layout", by_hand.LAYOUTS, ids=lambda layout: layout.name)
def test_a_client_by_hand_is_ours(name: str, layout: by_hand.Layout) -> None:
    method = paper_cnn.methods(WORK)[name]
    simulation = Simulation(WORK.run(method.client, "fp32").replace(engine=Loop(device="cpu")))
    context, order = simulation.context, Order(0, WORK.lr, [1], np.ones(1))
    split, (plan,) = context.plan(simulation.federation, order)
    store = context.store(split)
    assert isinstance(simulation.trainer, LoopTrainer)
    ours_P = simulation.trainer.one(simulation.theta_P, store, plan, order).theta_P

    hand = HandWritten(WORK, store, method.by_hand, layout=layout)
    rows = [index_B[:count] for index_B, count in zip(plan.index_TB, plan.count_T, strict=True)]
    assert [len(row) for row in rows] == [4, 4, 2]
    batches = []
    for row in rows:
        images = store.inputs[torch.from_numpy(row)]
        batches.append(
            ((images.float() / 255 - MEAN).div(STD).permute(0, 3, 1, 2), store.targets[torch.from_numpy(row)])
        )
    hand.train(batches)
    torch.testing.assert_close(flat(hand), ours_P, rtol=1e-4, atol=1e-5)
    assert (ours_P - simulation.theta_P).abs().max() > 1e-2
    if name != "sgd":  # and it is not SGD
        plain = HandWritten(WORK, store, by_hand.sgd)
        plain.train(batches)
        assert (flat(plain) - ours_P).abs().max() > 1e-3


def trained(algorithm: by_hand.Algorithm, work: Work = WORK, **settings: Any) -> Tensor:
    hand = HandWritten(work, store_of(work), algorithm, **settings)
    hand.train(hand.batches(0))
    return flat(hand)


def test_lookbehind_by_hand_with_one_step_is_sam() -> None:
    sam = trained(partial(by_hand.perturbed, ascent=by_hand.sam))
    one = trained(partial(by_hand.lookbehind, ascent=by_hand.sam, k=1, alpha=1.0))
    torch.testing.assert_close(one, sam, rtol=1e-5, atol=1e-6)
    for other in ({"k": 2, "alpha": 1.0}, {"k": 1, "alpha": 0.5}):
        differs = trained(partial(by_hand.lookbehind, ascent=by_hand.sam, **other))
        assert (differs - sam).abs().max() > 1e-3


def test_batches_are_an_epoch_of_the_client() -> None:
    hand = HandWritten(WORK, store_of(WORK), by_hand.sgd)
    inputs, labels = (torch.cat(parts) for parts in zip(*hand.batches(1), strict=True))
    own, own_labels = WORK.tensors(1)
    assert sorted(labels.tolist()) == sorted(own_labels.tolist())
    sums, own_sums = (t.reshape(WORK.samples, -1).double().sum(dim=1) for t in (inputs, own))
    torch.testing.assert_close(sums.sort().values, own_sums.sort().values)
    assert not torch.equal(inputs, own)
    assert [len(labels) for _, labels in hand.batches(1)] == [4, 4, 2]


def test_crops_are_cut_and_mirrored_out_of_the_padded_image() -> None:
    work = Work(model={"name": "mlp"}, clients=1, samples=12, batch=12, size=6)
    hand = HandWritten(work, store_of(work), by_hand.sgd, crop=True)
    ((inputs, labels),) = hand.batches(0)
    assert inputs.shape == (12, 3, 6, 6)
    pad = by_hand.PAD
    black = (0 - MEAN) / STD
    own, own_labels = work.tensors(0)
    around = torch.nn.functional.pad(own, (pad, pad, pad, pad), value=black)
    cuts = around.unfold(2, 6, 1).unfold(3, 6, 1).permute(0, 2, 3, 1, 4, 5)  # image, top, left, C, H, W
    mirrored, places = 0, []
    for image, label in zip(inputs, labels, strict=True):
        straight, turned = ((cuts == way).flatten(3).all(dim=3) for way in (image, image.flip(2)))
        (place,) = (straight | turned).nonzero().tolist()
        assert own_labels[place[0]] == label
        places.append(place)
        mirrored += int(turned.any())
    assert 0 < mirrored < 12
    which, top, left = zip(*places, strict=True)
    assert sorted(which) == list(range(12))
    assert min(len(set(top)), len(set(left))) > 3
    assert top != left


def test_a_round_takes_the_mean_of_the_cohort() -> None:
    hand = HandWritten(WORK, store_of(WORK), lambda hand, inputs, labels: None)
    with torch.no_grad():
        next(hand.model.parameters()).fill_(3.0)
    hand.round()
    assert torch.allclose(next(hand.model.parameters()), torch.tensor(3.0))

    seen: list[float] = []

    def marks(hand: HandWritten, inputs: Tensor, labels: Tensor) -> None:
        with torch.no_grad():
            seen.append(float(labels.sum()))
            next(hand.client.parameters()).add_(labels.sum())

    hand.algorithm = marks
    hand.round()
    assert len(seen) == 6
    wanted = torch.tensor(3.0 + sum(seen) / 2)
    torch.testing.assert_close(next(hand.model.parameters()).detach(), wanted.expand(9, 48))


def test_the_fastest_layout_is_one_of_three_and_eager_without_convolutions() -> None:
    assert by_hand.fastest(CNN, store_of(CNN), "fp32", 1) in by_hand.LAYOUTS
    assert by_hand.fastest(WORK, store_of(WORK), "fp32", 1) is by_hand.EAGER


def test_stock_flower_trains_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client and its rounds, without Ray: messages are answered where they are sent."""
    from flwr.app import Context, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from fedsam.flower import minimal_training as stock

    for name in ("_run_id", "_task_id", "_node_id"):  # or no message could be made
        monkeypatch.setattr(TaskIdentity, name, 1)

    class Grid:
        asked: list[int] = []  # noqa: RUF012

        def get_node_ids(self) -> list[int]:
            return [100 + k for k in range(WORK.clients)]

        def send_and_receive(self, messages: Any, timeout: float | None = None) -> list[Message]:
            replies = []
            for message in messages:
                assert message.metadata.message_type == stock.ACTION
                client = message.metadata.dst_node_id - 100
                self.asked.append(client)
                node = Context(0, client, {stock.PARTITION: client}, RecordDict(), {})
                replies.append(stock.train(message, node))
            return replies

    rounds: Any = stock.TrainingRounds(Grid(), WORK)  # type: ignore[arg-type]
    rounds.round()
    assert len(set(Grid.asked)) == WORK.cohort
    total = []
    for client in Grid.asked:
        hand = HandWritten(WORK, store_of(WORK), by_hand.sgd)
        inputs, labels = WORK.tensors(client)
        hand.train(zip(inputs.split(WORK.batch), labels.split(WORK.batch), strict=True))
        total.append(flat(hand))
    mean = torch.stack(total).mean(dim=0)
    state = rounds.arrays.to_torch_state_dict()
    torch.testing.assert_close(torch.cat([t.reshape(-1) for t in state.values()]), mean, rtol=1e-5, atol=1e-6)


def test_work_survives_as_text() -> None:
    assert Work.of_text(CNN.text()) == CNN
    assert CNN.steps == 2
    assert WORK.steps == 3
