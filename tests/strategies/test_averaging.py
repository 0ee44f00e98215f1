"""FedAvg, SWA and schedules inside a run, against means computed beside it."""

from __future__ import annotations

import pytest
import torch

from fedsam import Run, simulate
from fedsam.federated.round_loop import Listener, Simulation
from tests.support.ragged import Ragged


def test_swa_in_a_run_is_the_mean_of_its_own_global_models_and_is_never_sent() -> None:
    keys = {
        "data": Ragged(),
        "cohort": 3,
        "rounds": 12,
        "evaluate_every": 1,
        "engine.precision": "fp64",
        "client.lr": 0.05,
    }
    run = Run.from_keys(
        {**keys, "average.name": "swa", "average.cycle": 3, "average.start": 0.5, "average.lr_end": 0.01}
    )
    simulation = Simulation(run)
    models = []
    for _ in range(12):
        simulation.advance()
        models.append(simulation.theta_P.clone())
    expected_P = torch.stack([models[8], models[11]]).mean(dim=0)
    served_P = run.average.served(simulation.theta_P, simulation.average)
    assert (served_P - expected_P).norm() <= 1e-14 * expected_P.norm()
    result = simulate(run)
    state_P = torch.cat([tensor.reshape(-1) for tensor in result.state.values()])
    assert torch.equal(state_P, served_P)
    assert [r["lr"] for r in result.metrics[6:9]] == pytest.approx([0.05 * 2 / 3 + 0.01 / 3, 0.05 / 3 + 0.02 / 3, 0.01])
    raw = [r["raw_test_accuracy"] == r["test_accuracy"] for r in result.metrics]
    assert all(raw[:8])
    plain = simulate(Run.from_keys({**keys, "rounds": 12}))
    assert [r["raw_test_accuracy"] for r in result.metrics[:6]] == [r["test_accuracy"] for r in plain.metrics[:6]]


def test_one_client_at_server_learning_rate_one_returns_that_client() -> None:
    run = Run.from_keys({"data": Ragged(clients=1), "cohort": 1, "engine.precision": "fp64", "client.momentum": 0.9})
    simulation = Simulation(run)
    sent_P = simulation.theta_P
    order = simulation.order(simulation.clock(), run.client.base_optimizer.lr)
    (trained,) = simulation.trainer.train(sent_P, order)
    simulation.advance()
    client_P = sent_P + trained.update_JP[0]
    assert (simulation.theta_P - client_P).norm() <= 1e-15 * client_P.norm()
    assert (simulation.theta_P - sent_P).norm() > 1e-3


def test_unequal_clients_are_weighted_by_their_examples() -> None:
    """Against the mean computed from each client trained alone."""
    run = Run.from_keys({"data": Ragged(), "cohort": 7, "engine.precision": "fp64", "engine.block": 2})
    simulation = Simulation(run)
    sent_P = simulation.theta_P
    order = simulation.order(simulation.clock(), run.client.base_optimizer.lr)
    sizes = simulation.federation.sizes(order.ids)
    expected_P = sent_P.clone()
    for row, examples in enumerate(sizes):
        (alone,) = simulation.trainer.train(sent_P, order.part([row]))
        expected_P += alone.update_JP[0] * float(examples / sizes.sum())
    simulation.advance()
    assert (simulation.theta_P - expected_P).norm() <= 1e-12 * expected_P.norm()


def test_the_schedule_reaches_the_clients() -> None:
    keys = {
        "data": Ragged(),
        "cohort": 2,
        "rounds": 3,
        "evaluate_every": 1,
        "client.schedule": "exponential",
        "client.decay": 0.5,
    }
    result = simulate(Run.from_keys({**keys, "client.lr": 0.08}), Listener())
    assert [record["lr"] for record in result.metrics] == pytest.approx([0.08, 0.04, 0.02])
