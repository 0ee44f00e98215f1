"""Learning rates within a round: by their formulas, and as clients are trained with them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run
from fedsam.config import find, names
from fedsam.engine.support.cuda_graph import Graphs
from fedsam.federated.round_loop import Simulation
from fedsam.schedule.local.base import LocalSchedule
from fedsam.schedule.local.constant import Constant
from fedsam.schedule.local.cosine import Cosine
from fedsam.schedule.local.linear import Linear
from fedsam.schedule.local.warmup import Warmup
from tests.support.discovered import ENGINES, OTHERS, SLOWEST
from tests.support.rounds import ROUNDS, Again, assert_same, assert_same_models, models, ragged_run, trained

KIND: Any = LocalSchedule
DISCOVERED = names(KIND)


def rates(schedule: LocalSchedule, steps: int, lr: float = 0.4) -> list[float]:
    return [float(schedule.rate(lr, t, float(steps))) for t in range(steps)]


def test_rates_by_hand() -> None:
    assert rates(Constant(), 3) == [0.4, 0.4, 0.4]
    assert rates(Linear(local_end=0.5), 4) == pytest.approx([0.4, 0.35, 0.3, 0.25])
    assert rates(Linear(local_end=0.0), 4) == pytest.approx([0.4, 0.3, 0.2, 0.1])
    half = 0.2 / math.sqrt(2)
    assert rates(Cosine(local_end=0.0), 4) == pytest.approx([0.4, 0.2 + half, 0.2, 0.2 - half])
    assert rates(Cosine(local_end=0.5), 4) == pytest.approx([0.4, 0.3 + half / 2, 0.3, 0.3 - half / 2])
    assert rates(Warmup(local_share=0.5), 8) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert rates(Warmup(local_share=0.1), 4) == [0.4] * 4


@pytest.mark.parametrize("name", DISCOVERED)
def test_a_block_has_each_clients_own_rate(name: str) -> None:
    schedule, steps_K = find(KIND, name)(), torch.tensor([[2.0], [5.0], [9.0]]).double()
    for lr in (0.3, torch.tensor([[0.1], [0.2], [0.3]]).double()):
        for t in range(2):
            found = schedule.rate(lr, t, steps_K)
            for row, steps in enumerate((2, 5, 9)):
                own = float(lr[row]) if isinstance(lr, Tensor) else lr
                there = float(found.expand(3, 1)[row]) if isinstance(found, Tensor) else found
                assert there == pytest.approx(rates(schedule, steps, own)[t], rel=1e-12)


@pytest.mark.parametrize("name", DISCOVERED)
def test_rates_are_in_proportion_to_the_rounds_and_never_above_it(name: str) -> None:
    schedule = find(KIND, name)()
    found = rates(schedule, 20)
    assert max(found) == pytest.approx(0.4)
    assert min(found) > 0
    assert rates(schedule, 20, 0.8) == pytest.approx([2 * rate for rate in found])
    ways = {a <= b for a, b in pairwise(found) if a != b}
    assert len(ways) <= 1  # it falls or rises
    assert schedule.counts_steps == bool(ways)


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("name", DISCOVERED)
def test_engines_agree(name: str, engine: str) -> None:
    client = {"name": "sam", "batch_size": 4, "epochs": 2, "local_schedule": name, "momentum": 0.9}
    assert_same(trained(ragged_run(SLOWEST, client=client)), trained(ragged_run(engine, client=client)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("client", [{"name": "sgd", "momentum": 0.9}, {"name": "asam"}, {"name": "adamw", "lr": 0.01}])
def test_the_clients_of_fedswa_are_those_of_a_linear_schedule(client: dict[str, Any], engine: str) -> None:
    def averaged(server: dict[str, Any], local: dict[str, Any]) -> list[Tensor]:
        keys = {"batch_size": 4, **client, **local}
        run = ragged_run(engine, client=keys, server=server, rounds=3)
        simulation, found = Simulation(run), []
        for _ in range(3):
            simulation.advance()
            found.append(simulation.theta_P.clone())
        return found

    falling = averaged({"name": "fedavg", "lr": 1.5}, {"local_schedule": "linear", "local_end": 0.2})
    fedswa = averaged({"name": "fedswa", "lr": 1.5, "decay": 0.2}, {})
    plain = averaged({"name": "fedavg", "lr": 1.5}, {})
    assert all(torch.equal(a, b) for a, b in zip(falling, fedswa, strict=True))
    assert (falling[-1] - plain[-1]).norm() > 1e-3 * plain[-1].norm()


def test_a_steps_rate_is_what_the_client_steps_with() -> None:
    """One client whose gradient hardly changes: with a tiny rate its way is that of Σ_t lr_t."""
    ways = {}
    for name in DISCOVERED:
        local = {"name": "sgd", "batch_size": 23, "epochs": 8, "local_schedule": name}
        simulation = Simulation(ragged_run("loop", client=local))
        order = simulation.order(simulation.clock(), 1e-6)
        ways[name] = float(list(simulation.trainer.train(simulation.theta_P, order))[-1].update_JP.norm())
    for name in DISCOVERED:
        expected = sum(rates(find(KIND, name)(), 8)) / sum(rates(Constant(), 8))
        assert ways[name] / ways["constant"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("server", ["scaffold", "fedcm", "fednova"])
def test_strategies_that_take_the_way_for_a_sum_of_gradients_refuse_it(server: str) -> None:
    keys = {"server.name": server, "client.local_schedule": "cosine"}
    with pytest.raises(InputError, match=rf"^client\.local_schedule = cosine: server\.name={server} takes .* constant"):
        Run.from_keys(keys)
    Run.from_keys({**keys, "client.local_schedule": "constant"})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", DISCOVERED)
def test_a_captured_step_is_not_replayed_at_another_rate(name: str, engine: str) -> None:
    run = ragged_run(engine, client={"name": "sgd", "batch_size": 4, "local_schedule": name}, rounds=ROUNDS)
    assert_same_models(models(run), models(run, Graphs(Again)))
