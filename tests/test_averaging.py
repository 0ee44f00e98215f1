"""FedAvg and SWA: hand-computed rounds, both capture modes, and the identities of averaging."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import Run, simulate
from fedsam.errors import InputError
from fedsam.schedule.base import Clock
from fedsam.schedule.constant import Constant
from fedsam.schedule.cosine import Cosine
from fedsam.schedule.exponential import Exponential
from fedsam.simulation import Listener, Simulation
from strategies.fedavg import FedAvg
from strategies.swa import SWA
from tests.conftest import Ragged


def played(swa: SWA, rounds: int) -> tuple[list[int], list[Tensor]]:
    """Rounds (from 0) whose model entered the mean, and what is served after each round; model i is the vector e_i."""
    thetas = list(torch.eye(rounds + 1, dtype=torch.float64))  # thetas[i] is sent in round i
    state: dict[str, Tensor] = {}
    served = []
    for i in range(rounds):
        state = swa.update(thetas[i], thetas[i + 1], state, Clock(i, rounds))
        served.append(swa.served(thetas[i + 1], state))
    return [int(j) - 1 for j in torch.nonzero(served[-1]).flatten()], served


@pytest.mark.parametrize(
    ("rounds", "start", "cycle", "capture", "captured"),
    [
        (20, 0.5, 5, "cycle-end", [14, 19]),
        (20, 0.5, 5, "as-released", [15]),
        (24, 0.5, 5, "cycle-end", [14, 19]),
        (24, 0.5, 5, "as-released", [17, 22]),
        (12, 0.75, 1, "cycle-end", [9, 10, 11]),
        (12, 0.75, 1, "as-released", [10, 11]),
        (13, 0.0, 4, "cycle-end", [3, 7, 11]),
        (13, 0.0, 4, "as-released", [4, 8, 12]),
    ],
)
def test_swa_is_the_plain_mean_of_the_captured_models(
    rounds: int, start: float, cycle: int, capture: Any, captured: list[int]
) -> None:
    swa = SWA(start=start, cycle=cycle, capture=capture)
    found, served = played(swa, rounds)
    assert found == captured
    expected = torch.zeros(rounds + 1, dtype=torch.float64)
    expected[[i + 1 for i in captured]] = 1 / len(captured)
    assert torch.allclose(served[-1], expected, rtol=0, atol=1e-15)
    for i in range(captured[0]):
        snapshot = capture == "as-released" and i >= int(start * rounds)
        shown = int(start * rounds) if snapshot else i + 1  # the snapshot is the model sent in round s
        assert served[i][shown] == 1


def test_the_release_averages_249_models_in_10000_rounds_at_the_wrong_end() -> None:
    found = [i for i in range(10_000) if SWA(capture="as-released").captures(Clock(i, 10_000))]
    assert len(found) == 249
    assert found[:2] == [7510, 7520]
    assert SWA().lr(0.01, Clock(7510, 10_000)) == pytest.approx(0.00901)
    ours = [i for i in range(10_000) if SWA().captures(Clock(i, 10_000))]
    assert len(ours) == 250
    assert all(SWA().lr(0.01, Clock(i, 10_000)) == pytest.approx(1e-4) for i in ours)


def test_the_learning_rate_of_a_cycle() -> None:
    expected = [0.00901, 0.00802, 0.00703, 0.00604, 0.00505, 0.00406, 0.00307, 0.00208, 0.00109, 0.0001]
    assert [SWA().lr(0.01, Clock(7500 + i, 10_000)) for i in range(10)] == pytest.approx(expected)
    assert SWA().lr(0.01, Clock(7499, 10_000)) == 0.01
    assert SWA(cycle=1).lr(0.01, Clock(7500, 10_000)) == 0.01


def test_a_cycle_that_never_ends_is_refused() -> None:
    SWA(cycle=10).check(40)
    with pytest.raises(InputError, match="no model would be captured in rounds 31 to 39"):
        SWA(cycle=10, start=0.77).check(39)


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


def test_fedavg_is_the_example_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    delta_KP = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    examples = torch.tensor([1.0, 4.0, 2.0, 8.0, 5.0], dtype=torch.float64)
    weight_K = examples / examples.sum()
    theta_P = torch.randn(7, generator=generator, dtype=torch.float64)
    expected_P = sum(float(n) * d for n, d in zip(examples, delta_KP, strict=True)) / 20
    for blocks in ([slice(0, 5)], [slice(0, 2), slice(2, 5)], [slice(4, 5), slice(0, 4)]):
        delta_P = FedAvg().aggregate(((delta_KP[b], weight_K[b]) for b in blocks), theta_P)
        assert (delta_P - expected_P).norm() <= 1e-14
    moved_P, _ = FedAvg(lr=0.3).update(theta_P, expected_P, {}, Clock(0, 1))
    assert torch.allclose(moved_P, theta_P + 0.3 * expected_P, rtol=1e-15)


def test_one_client_at_server_learning_rate_one_returns_that_client() -> None:
    run = Run.from_keys({"data": Ragged(clients=1), "cohort": 1, "engine.precision": "fp64", "client.momentum": 0.9})
    simulation = Simulation(run)
    sent_P = simulation.theta_P
    store, plans = simulation._plan(simulation.clock())
    (trained,) = simulation.trainer.train(sent_P, store, plans, run.client.bottom.lr)
    simulation.advance()
    client_P = sent_P + trained.delta_KP[0]
    assert (simulation.theta_P - client_P).norm() <= 1e-15 * client_P.norm()
    assert (simulation.theta_P - sent_P).norm() > 1e-3


def test_unequal_clients_are_weighted_by_their_examples() -> None:
    """Against the mean computed from each client trained alone."""
    run = Run.from_keys({"data": Ragged(), "cohort": 7, "engine.precision": "fp64", "engine.block": 2})
    simulation = Simulation(run)
    sent_P = simulation.theta_P
    store, plans = simulation._plan(simulation.clock())
    total = sum(plan.examples for plan in plans)
    expected_P = sent_P.clone()
    for plan in plans:
        (alone,) = simulation.trainer.train(sent_P, store, [plan], run.client.bottom.lr)
        expected_P += alone.delta_KP[0] * plan.examples / total
    simulation.advance()
    assert (simulation.theta_P - expected_P).norm() <= 1e-12 * expected_P.norm()


def test_schedules() -> None:
    assert Constant().lr(0.3, Clock(7, 10)) == 0.3
    assert Exponential(decay=0.9).lr(0.3, Clock(4, 10)) == pytest.approx(0.3 * 0.9**4)
    assert Cosine(lr_min=0.1).lr(0.3, Clock(0, 8)) == pytest.approx(0.3)
    assert Cosine(lr_min=0.1).lr(0.3, Clock(4, 8)) == pytest.approx(0.2)
    assert Cosine(lr_min=0.1).lr(0.3, Clock(2, 8)) == pytest.approx(0.1 + 0.1 * (1 + 2**-0.5))


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
