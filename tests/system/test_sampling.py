"""Ways of sampling clients: how often each is asked, what it weighs, and what that costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from fedsam import InputError, Run, simulate
from fedsam.config import find, names
from fedsam.data.base import Split
from fedsam.engine.flower import Flower
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import evaluate
from fedsam.params import Weights
from fedsam.schedule.base import Clock
from fedsam.system.base import System
from fedsam.system.sampling.base import Drawn, Population, Sampling
from fedsam.transforms.accountant import Sampled, epsilon_of
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401
from tests.support.ragged import Ragged

ROUNDS = 3000
SIZES = np.array([1, 5, 0, 10, 4, 20])
LOSSES = np.array([0.3, 2.0, 0.0, 1.0, 2.0, 0.1])


def drawn(sampling: str, round: int, seed: int = 0, cohort: int = 3, **keys: Any) -> Drawn:
    def losses(ids: Sequence[int]) -> np.ndarray:
        return LOSSES[list(ids)]

    population = Population(seed, round, len(SIZES), cohort, lambda: [0, 1], lambda: SIZES, losses)
    return find(Sampling, sampling)(**keys).draw(population)


def described(sampling: str, engine: str = "loop", **changes: Any) -> Run:
    keys = {"data": Ragged(), "cohort": 3, "rounds": 4, "evaluate_every": 1, "model.width": 8, "engine.threads": 1}
    return Run.from_keys({**keys, "engine.name": engine, "system.sampling": sampling, **changes})


def test_weighted_draws_are_shares_of_the_examples() -> None:
    """Scheme I: the expected weight of a client is n_k / Σ n, within five standard errors."""
    total: Counter[int] = Counter()
    for round in range(ROUNDS):
        found = drawn("weighted", round)
        assert sum(found.times.values()) == 3
        assert found.ids == sorted(found.times)
        total.update(found.times)
    for client, n in enumerate(SIZES):
        share = n / SIZES.sum()
        assert total[client] / (3 * ROUNDS) == pytest.approx(share, abs=5 * math.sqrt(share / (3 * ROUNDS)) + 1e-12)


def test_poisson_draws_each_client_by_itself() -> None:
    rounds = [drawn("poisson", round).ids for round in range(ROUNDS)]
    for client in range(6):
        assert sum(client in ids for ids in rounds) / ROUNDS == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(ROUNDS))
    both = sum({0, 1} <= set(ids) for ids in rounds) / ROUNDS
    assert both == pytest.approx(0.25, abs=5 * 0.45 / math.sqrt(ROUNDS))
    assert {len(ids) for ids in rounds} == set(range(7))


def test_power_of_choice_takes_the_largest_losses_of_its_candidates() -> None:
    """By all orders in which candidates can be drawn one after the other, by their examples."""
    wanted: Counter[tuple[int, ...]] = Counter()
    there = [client for client in range(6) if SIZES[client]]
    for line in permutations(there, 4):
        chance, left = 1.0, float(SIZES.sum())
        for client in line:
            chance, left = chance * SIZES[client] / left, left - SIZES[client]
        best = sorted(sorted(line, key=lambda client: (-LOSSES[client], client))[:2])
        wanted[tuple(best)] += chance  # type: ignore[assignment]
    found: Counter[tuple[int, ...]] = Counter()
    for round in range(ROUNDS):
        one = drawn("power_of_choice", round, cohort=2, candidates=4)
        assert (one.candidates, set(one.times.values())) == (4, {1})
        found[tuple(one.ids)] += 1
    assert found.keys() <= wanted.keys()
    for ids, chance in wanted.items():
        assert found[ids] / ROUNDS == pytest.approx(chance, abs=5 * math.sqrt(chance / ROUNDS))


@pytest.mark.parametrize("sampling", ["weighted", "poisson", "power_of_choice"])
def test_draws_are_keyed_by_seed_and_round(sampling: str) -> None:
    keys = {"candidates": 3} if sampling == "power_of_choice" else {}
    many, again = ([drawn(sampling, round, cohort=2, **keys).ids for round in range(30)] for _ in range(2))
    assert many == again
    assert many != [drawn(sampling, round, 1, cohort=2, **keys).ids for round in range(30)]
    assert len({tuple(ids) for ids in many}) > 3


@pytest.mark.parametrize("sampling", sorted(names(Sampling)))
def test_engines_agree(sampling: str) -> None:
    loop, cohort = (
        simulate(described(sampling, engine, **{"engine.precision": "fp64"})) for engine in ("loop", "cohort")
    )
    for name, tensor in loop.state.items():
        assert (tensor - cohort.state[name]).abs().max() < 1e-9
    for one, other in zip(loop.metrics, cohort.metrics, strict=True):
        assert one["clients"] == other["clients"]


def test_a_round_weighs_by_how_often_clients_were_drawn() -> None:
    run = described("weighted", data={"name": "digits", "clients": 4}, cohort=4)
    simulation = Simulation(run)
    parts = [simulation.participation(Clock(round, 4)) for round in range(4)]
    part = next(part for part in parts if max(part.times.values()) > 1)
    order = simulation.order(simulation.clock(), 0.1, part)
    assert order.weight_K.tolist() == pytest.approx([part.times[client] / 4 for client in part.ids])


def test_power_of_choice_asks_for_losses_of_the_model_that_is_sent() -> None:
    run = described("power_of_choice", **{"system.candidates": 7, "server.name": "fedgloss"})
    simulation = Simulation(run)
    simulation.advance()
    simulation.advance()
    sent_P = simulation.run.server.sent(simulation.theta_P, simulation.server)
    assert not torch.equal(sent_P, simulation.theta_P)
    store, index = simulation.federation.examples(range(7))
    wanted = [
        evaluate(
            simulation.context, Weights(sent_P), simulation.context.place(Split(store.inputs[own], store.targets[own]))
        )[0]
        for own in index
    ]
    assert simulation.losses(range(7)).tolist() == pytest.approx(wanted, rel=1e-12)
    assert simulation.participation(simulation.clock()).ids == sorted(np.argsort(wanted)[-3:].tolist())


def test_what_candidates_are_sent_is_counted() -> None:
    result = simulate(described("power_of_choice", **{"system.candidates": 5}))
    parameters = sum(tensor.numel() for tensor in result.state.values())
    assert result.metrics[0]["bytes_down"] == 5 * 4 * parameters
    assert result.metrics[0]["bytes_up"] == 3 * 4 * parameters + 5 * 4


def test_a_poisson_round_without_clients_leaves_the_model() -> None:
    simulation = Simulation(described("poisson", cohort=1, rounds=12))
    turnout = []
    for _ in range(12):
        before_P = simulation.theta_P
        ids, _ = simulation.advance()
        turnout.append(len(ids))
        assert torch.equal(simulation.theta_P, before_P) == (not ids)
    assert {0, 2} <= set(turnout)


def test_epsilon_is_that_of_poisson_sampling() -> None:
    pytest.importorskip("dp_accounting")
    result = simulate(described("poisson", **{"privacy.name": "gaussian"}))
    assert result.metrics[-1]["epsilon"] == epsilon_of(1.0, 4, Sampled(7, 3, poisson=True), 7**-1.1)


@pytest.mark.usefixtures("inside_flower")
@pytest.mark.parametrize("sampling", ["weighted", "poisson"])
def test_messages_give_the_bits_of_the_loop(sampling: str) -> None:
    there = simulate(described(sampling).replace(engine=Flower(threads=1).over(Nodes(7))))
    assert there.digest == simulate(described(sampling)).digest


@pytest.mark.usefixtures("inside_flower")
def test_flowers_nodes_are_not_asked_for_losses() -> None:
    run = described("power_of_choice").replace(engine=Flower(threads=1).over(Nodes(7)))
    with pytest.raises(InputError, match=r"system.sampling = power_of_choice: needs losses of clients"):
        simulate(run)


@pytest.mark.usefixtures("inside_flower")
def test_clients_of_qfedavg_know_their_losses_at_flowers_nodes() -> None:
    keys = {"server.name": "qfedavg", "server.q": 2.0}
    there = simulate(described("uniform", **keys).replace(engine=Flower(threads=1).over(Nodes(7))))
    assert there.digest == simulate(described("uniform", **keys)).digest


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"system.name": "simulated", "system.available": 0.5}, "system.sampling = poisson: samples from all clients"),
        ({"system.sampling": "weighted", "privacy.name": "gaussian"}, "privacy.name = gaussian: no bound is known"),
        (
            {"system.sampling": "weigthed"},
            "system.sampling = weigthed: no such way of sampling; did you mean 'weighted'",
        ),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Run.from_keys({"system.sampling": "poisson", "data.clients": 10, **keys})


def test_a_system_of_ones_own_that_samples_is_asked() -> None:
    class Odd(System):
        def sample(self, seed: int, round: int, clients: int, cohort: int) -> list[int]:
            return [1, 3, 5]

    assert not Odd().uniform
    assert {tuple(record["clients"]) for record in simulate(described("uniform", system=Odd())).metrics} == {(1, 3, 5)}
