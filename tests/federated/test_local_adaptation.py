"""Evaluation of clients in the course of a run: what it finds, and that it leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from fedsam import InputError, Run, resume, simulate
from fedsam.data.plan import plan_client
from fedsam.engine.loop import LoopTrainer
from fedsam.engine.messages import Order
from fedsam.errors import Interrupted
from fedsam.federated.local_adaptation import check_adaptation
from fedsam.federated.round_loop import Simulation
from fedsam.measure.accuracy import Accuracy
from fedsam.params import Weights
from fedsam.schedule.base import Clock
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt, outcome

KEYS: dict[str, Any] = {"data.clients": 12, "data.alpha": 0.3, "data.local_test": 0.25, "model.width": 8, "cohort": 4}
KEYS |= {"rounds": 5, "evaluate_every": 5, "client.epochs": 1, "engine.threads": 1, "engine.precision": "fp64"}
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "slots": {"server.name": "scaffold"},
    "perturbing slots": {"server.name": "fedsmoo", "client.name": "sam", "client.rho": 0.1},
    "perturbed before it is sent": {"server.name": "fedgloss"},
    "averaged": {"average.name": "swa", "average.cycle": 1, "average.start": 0.4, "client.name": "asam"},
    "lasting momentum": {"client.persistent": True, "client.momentum": 0.9},
    "batch normalisation": {"model.name": f"{__name__}:normed"},
    "local batch normalisation": {"model.name": f"{__name__}:normed", "server.batchnorm": "local"},
}


def normed() -> torch.nn.Module:
    """A network with batch normalisation."""
    layers = torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU()
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 10))


def described(method: str = "plain", **changes: Any) -> Run:
    keys = {**KEYS, **METHODS[method], "local.every": 2, **changes}
    if "normed" in str(keys.get("model.name")):
        del keys["model.width"]
    return Run.from_keys(keys)


def at_round(run: Run, rounds: int) -> Simulation:
    simulation = Simulation(run)
    for _ in range(rounds):
        simulation.advance()
    return simulation


def correct(simulation: Simulation, theta_P: torch.Tensor, client: int, *statistics: torch.Tensor) -> float | None:
    store, (index,) = simulation.federation.local_test([client])
    if not len(index):
        return None
    inputs = simulation.context.prepare(torch.from_numpy(store.inputs[index]))
    outputs = simulation.context.outputs(Weights(theta_P, statistics), inputs)
    right = outputs.argmax(1) == torch.from_numpy(store.targets[index])
    return float(right.double().mean())


@pytest.mark.parametrize("engine", ENGINES)
def test_before_and_after_are_those_of_a_hand_written_loop(engine: str) -> None:
    run = described(**{"engine.name": engine})
    found = simulate(run).metrics[0]
    assert found["round"] == 2
    simulation = at_round(run, 2)
    federation, context, start_P = simulation.federation, simulation.context, simulation.theta_P
    before, after = [], []
    for client in range(12):
        before.append(correct(simulation, start_P, client))
        store, (index,) = federation.examples([client])
        plan = plan_client(
            index, run.client.base_optimizer.batch_size, 1, run.data.augment, (8, 8), run.seed, 1, client
        )
        theta_P = start_P.clone()
        for index_B, count in zip(plan.index_TB, plan.count_T, strict=True):
            own = index_B[:count]
            leaf_P = theta_P.requires_grad_()
            logits = context.outputs(Weights(leaf_P), context.prepare(torch.from_numpy(store.inputs[own])))
            loss = F.cross_entropy(logits, torch.from_numpy(store.targets[own]))
            theta_P = theta_P.detach() - run.client.base_optimizer.lr * torch.autograd.grad(loss, leaf_P)[0]
        after.append(correct(simulation, theta_P, client))
    assert found["local"]["before"]["accuracy"] == pytest.approx(before)
    assert found["local"]["after"]["accuracy"] == pytest.approx(after)
    assert before != after


@pytest.mark.parametrize("method", METHODS)
def test_clients_train_with_what_they_keep_and_are_sent(method: str) -> None:
    run = described(method, rounds=4)
    found = simulate(run).metrics[-1]["local"]["after"]["accuracy"]
    simulation = at_round(run, 4)
    server, context = run.server, simulation.context
    served_P = run.average.served(simulation.theta_P, simulation.average)
    statistics = simulation.statistics.of(served_P, simulation.theta_P).statistics
    sent_P = server.sent(served_P, simulation.server)
    lr = run.average.lr(run.client.base_optimizer.lr, Clock(3, 4))
    expected = []
    for client in range(12):
        sent = server.broadcast(simulation.server)
        averaged = context.batchnorms is not None and server.batchnorm == "average"
        if averaged:
            sent = {**sent, "batchnorm": statistics[0]}
        order = Order(3, lr, [client], np.ones(1), False, sent, simulation.client_state.rows([client]))
        (block,) = LoopTrainer(context, simulation.federation).train(sent_P, order)
        own = statistics
        if averaged:
            own = (block.uploads["batchnorm"],)
        elif context.batchnorms is not None:
            own = (context.batchnorms.initial(sent_P) + block.client_state["batchnorm"][0],)
        expected.append(correct(simulation, sent_P + block.update_JP[0], client, *own))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_the_same_with_and_without(method: str) -> None:
    watched, plain = simulate(described(method)), simulate(described(method, **{"local.every": 0}))
    assert watched.digest == plain.digest
    assert [record["round"] for record in watched.metrics] == [2, 4, 5]
    assert "local" not in plain.metrics[-1]
    left_out = {"local", "seconds", "eval_seconds", "bytes_up", "bytes_down", "train_loss"}
    last, same = ({k: v for k, v in r.metrics[-1].items() if k not in left_out} for r in (watched, plain))
    assert last == same


@pytest.mark.parametrize("method", ["slots", "averaged", "lasting momentum"])
def test_a_resumed_run_ends_in_the_same_bytes(method: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(described(method, out=str(whole), checkpoint_every=1))
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(method, out=str(stopped), checkpoint_every=1), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_the_summary_is_its_definition() -> None:
    values = [0.9, None, 0.1, 0.5, 0.2, 0.8, 0.7, 0.6, 1.0, 0.4, 0.3, 0.95]
    found = Accuracy(threshold=0.5).summary(values)
    there = [value for value in values if value is not None]
    mean = sum(there) / 11
    assert found["mean"] == pytest.approx(mean)
    assert found["std"] == pytest.approx((sum((v - mean) ** 2 for v in there) / 11) ** 0.5)
    assert found["worst_decile"] == pytest.approx(0.15)  # of 11, the worst 2: a tenth is more than one
    assert (found["below"], found["evaluated"]) == (4, 11)
    assert found["accuracy"] == values
    assert Accuracy().summary([0.3, 0.8])["worst_decile"] == 0.3
    empty = Accuracy().summary([None, None])
    assert [empty[name] for name in ("mean", "std", "worst_decile", "below", "evaluated")] == [None, None, None, 0, 0]


def test_the_first_clients_are_evaluated_and_those_that_hold_nothing_out_are_not() -> None:
    keys = {"data.partition": "quantity", "data.sigma": 2.0, "data.clients": 30, "local.limit": 25}
    base = {name: value for name, value in KEYS.items() if name != "data.alpha"}
    run = Run.from_keys({**base, **keys, "rounds": 1, "local.every": 1})
    found = simulate(run).metrics[0]["local"]
    sizes = [len(own) for own in run.data.load(0).local_test(range(30))[1]]
    assert 0 in sizes[:25]
    for part in ("before", "after"):
        assert len(found[part]["accuracy"]) == 25
        assert [value is None for value in found[part]["accuracy"]] == [size == 0 for size in sizes[:25]]
        assert found[part]["evaluated"] == sum(size > 0 for size in sizes[:25])


def test_a_client_that_fails_is_left_out_of_the_second_half(caplog: pytest.LogCaptureFixture) -> None:
    run = described(**{"engine.name": "loop"})
    simulation = at_round(run, 2)
    genuine = simulation.trainer.train

    def failing(theta_P: torch.Tensor, order: Order) -> Any:
        from fedsam.engine.messages import Failure

        rest = [row for row, client in enumerate(order.ids) if client != 3]
        yield simulation.trainer.failed([Failure(3, "no power")])
        yield from genuine(theta_P, order.part(rest))

    simulation.trainer.train = failing  # type: ignore[method-assign]
    found = simulation.measures.of(2, simulation.theta_P, simulation.theta_P, simulation._trial(0.1))["local"]
    assert found["after"]["accuracy"][3] == found["before"]["accuracy"][3]
    assert found["after"]["accuracy"] != found["before"]["accuracy"]
    assert "client 3 could not be trained for its evaluation: no power" in caplog.text


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"local\.every = 2: needs data\.local_test above 0"):
        described(**{"data.local_test": 0.0})
    with pytest.raises(
        InputError, match=r"local\.name = hessian: no such evaluation of clients; .* probe; there are accuracy"
    ):
        described(**{"local.name": "hessian"})
    with pytest.raises(InputError, match=r"geometry\.name = accuracy: no such probe"):
        described(**{"geometry.name": "accuracy"})

    simulation = Simulation(described("slots"))
    simulation.trainer.keeps_client_state = True  # as Flower's nodes do
    with pytest.raises(InputError, match=r"local\.every = 2: clients of this algorithm keep vectors at Flower's nodes"):
        check_adaptation(simulation.trainer, 2)
    check_adaptation(simulation.trainer, 0)
