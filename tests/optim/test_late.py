"""Switching between optimisers, and momentum that lasts: against torch.optim over epochs, and bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run, resume, simulate
from fedsam.algorithm.client_hooks import ClientContext
from fedsam.engine.train_client import BatchOracle, Step
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.optim.late import Late
from fedsam.schedule.base import Clock
from tests.support.discovered import ENGINES, OTHERS, SLOWEST
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged

ROUNDS, LR, MOMENTUM, DECAY, RHO = 6, 0.05, 0.9, 0.01, 0.1


def described(engine: str = "loop", clients: int = 1, **client: Any) -> Run:
    """By default one client: centralised training, an epoch a round."""
    local = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "batch_size": 4, "epochs": 1, **client}
    return Run(
        data=Ragged(clients=clients),
        cohort=min(clients, 3),
        rounds=ROUNDS,
        client=local,  # type: ignore[arg-type]
        engine={"name": engine, "precision": "fp64", "threads": 1},  # type: ignore[arg-type]
        checkpoint_every=1,
    )


def models(run: Run) -> list[Tensor]:
    simulation = Simulation(run)
    found = []
    for _ in range(run.rounds):
        simulation.advance()
        found.append(simulation.theta_P.clone())
    return found


def centralised(run: Run, sharp: Any, reset: int | None = None) -> list[Tensor]:
    """torch.optim.SGD through all epochs on the same mini-batches; `sharp` says in which epochs it is SAM."""
    simulation = Simulation(run.replace(client={"name": "sgd", "lr": LR, "batch_size": 4, "epochs": 1}))
    context = simulation.context
    parameter = torch.nn.Parameter(simulation.theta_P.clone())

    def fresh() -> torch.optim.Optimizer:
        return torch.optim.SGD([parameter], lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    optimizer, found = fresh(), []
    for epoch in range(ROUNDS):
        optimizer = fresh() if epoch == reset else optimizer
        simulation.done = epoch
        store, (plan,) = context.plan(simulation.federation, simulation.order(simulation.clock(), LR))
        client = ClientContext(simulation.theta_P, {}, {}, 1.0, LR, context.optimizer, Clock(0, 1))
        for t, count in enumerate(plan.count_T.tolist()):
            step = Step(torch.from_numpy(plan.index_TB[t, :count]), float(count))
            gradient = BatchOracle(context, context.store(store), step, t, client)
            w = parameter.detach()
            g = gradient(w)
            parameter.grad = gradient(w + RHO * g / g.norm()) if sharp(epoch) else g
            optimizer.step()
        found.append(parameter.detach().clone())
    return found


def assert_near(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a - b).norm() <= 1e-11 * b.norm()


CLIENTS = 7


@pytest.fixture(autouse=True)
def larger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one client has 23 examples, so an epoch has steps of unequal size."""
    monkeypatch.setattr("tests.support.ragged.RaggedFederation.SIZES", (23, 3, 4, 5, 9, 16, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_one_client_with_lasting_momentum_is_centralised_training(engine: str) -> None:
    assert_near(
        models(described(engine, name="sgd", persistent=True)), centralised(described(name="sgd"), lambda _: False)
    )
    fleeting = models(described(engine, name="sgd"))
    assert (fleeting[-1] - centralised(described(name="sgd"), lambda _: False)[-1]).norm() > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("first", "reset"), [("base", False), ("perturbed", False), ("base", True)])
def test_a_switch_in_centralised_training(engine: str, first: str, reset: bool) -> None:
    run = described(engine, name="late", first=first, reset=reset, switch=0.5, rho=RHO, persistent=True)
    expected = centralised(run, lambda epoch: (epoch >= 3) == (first == "base"), 3 if reset else None)
    assert_near(models(run), expected)


@pytest.mark.parametrize("ascent", ["sam", "asam"])
def test_the_ends_are_the_optimisers_themselves(ascent: str) -> None:
    def weights(**client: Any) -> Tensor:
        return models(described(clients=CLIENTS, **client))[-1]

    base, sharp = weights(name="sgd"), weights(name=ascent, rho=RHO)
    late = {"name": "late", "ascent": ascent, "rho": RHO}
    assert torch.equal(weights(**late, switch=0.0), sharp)
    assert torch.equal(weights(**late, switch=ROUNDS), base)
    assert torch.equal(weights(**late, switch=0.0, first="perturbed"), base)
    assert torch.equal(weights(**late, switch=ROUNDS, first="perturbed"), sharp)
    assert not torch.equal(base, sharp)


def test_the_switch_is_a_share_or_a_round() -> None:
    assert [Late(switch=s).begin(300) for s in (0.0, 1 / 3, 0.815, 1.0, 200.0)] == [0, 100, 244, 1, 200]


def test_momentum_lasts_for_each_client_and_across_a_resume(tmp_path: Path) -> None:
    run = described(clients=CLIENTS, name="late", switch=0.5, rho=RHO, persistent=True)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(run.replace(out=str(whole)))
    listener = StopAt(4)
    with pytest.raises(Interrupted):
        simulate(run.replace(out=str(stopped)), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
    loop, *others = (models(described(engine, CLIENTS, name="sgd", persistent=True)) for engine in (SLOWEST, *OTHERS))
    for other in others:
        assert_near(loop, other)
    assert (loop[-1] - models(described("loop", CLIENTS, name="sgd"))[-1]).norm() > 1e-4


def test_it_stands_beside_what_a_strategy_keeps() -> None:
    run = described(clients=CLIENTS, name="sgd", persistent=True)
    both = Simulation(run.replace(server="scaffold"))
    both.advance()
    assert set(both.client_state.names) == {"control", "client momentum"}
    kept = both.client_state.rows(range(CLIENTS))
    trained = [client for client in range(CLIENTS) if kept["client momentum"][client].norm() > 0]
    assert trained == [client for client in range(CLIENTS) if kept["control"][client].norm() > 0]
    assert len(trained) == 3


def test_without_momentum_there_is_nothing_to_keep() -> None:
    with pytest.raises(InputError, match="persistent = True: needs momentum > 0"):
        described(name="sgd", momentum=0.0, persistent=True)
