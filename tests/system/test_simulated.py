"""System heterogeneity: who delivers, how much and when, against the definitions; what a run makes of it."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from fedsam import InputError, Run, resume, simulate
from fedsam.data.plan import local_steps, sample_cohort
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.system.base import Participation
from fedsam.system.simulated import Simulated
from fedsam.system.windows import phases, sample_available
from tests.support.discovered import OTHERS, SLOWEST
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged, RaggedFederation
from tests.support.rounds import assert_same, trained
from tests.support.unruly import Broken, Refusing

IDS = list(range(200))
SIZES = np.array([RaggedFederation.SIZES[k % 7] for k in IDS])
STEPS = local_steps(SIZES, 4, 3)


def described(**changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 8, "cohort": 5, "rounds": 4, "evaluate_every": 1, "engine.threads": 1}
    keys |= {"engine.name": "loop", "client.batch_size": 4, "client.epochs": 3}
    return Run.from_keys({**keys, **changes})


def simulated(**changes: Any) -> Run:
    """With keys of the group by their own names."""
    own = {name: value for name, value in changes.items() if name in Simulated.model_fields}
    rest = {name: value for name, value in changes.items() if name not in own}
    return described(**{"system.name": "simulated", **{f"system.{name}": value for name, value in own.items()}, **rest})


def participation(round: int = 0, seed: int = 0, **keys: Any) -> Participation:
    return Simulated(**keys).participation(seed, round, IDS, SIZES, STEPS)


def steps_of(found: Participation) -> dict[int, int]:
    assert found.steps_K is not None
    return dict(zip(found.ids, found.steps_K.tolist(), strict=True))


# --- drop-outs ---------------------------------------------------------------------------------------------------


def test_nobody_drops_out_with_probability_0_and_the_run_is_the_ideal_one() -> None:
    ideal, real = simulate(described()), simulate(simulated())
    assert real.digest == ideal.digest
    added = {"dropped", "steps", "turnout", "simulated_seconds"}
    for one, other in zip(ideal.metrics, real.metrics, strict=True):
        assert other.keys() - one.keys() == added
        assert other["dropped"] == {"dropout": [], "work": [], "deadline": []}
        assert {k: one[k] for k in ("clients", "bytes_up", "bytes_down", "train_loss")} == {
            k: other[k] for k in ("clients", "bytes_up", "bytes_down", "train_loss")
        }


def test_everybody_drops_out_with_probability_1_and_the_model_stays(caplog: pytest.LogCaptureFixture) -> None:
    run = simulated(dropout=1.0, evaluate_every=2, **{"server.name": "fedavgm", "server.beta": 0.9})
    simulation = Simulation(run)
    simulation.server = {name: torch.full_like(each, 3.0) for name, each in simulation.server.items()}
    before_P, state = simulation.theta_P.clone(), {k: v.clone() for k, v in simulation.server.items()}
    assert simulation.advance()[0] == []
    assert torch.equal(simulation.theta_P, before_P)
    assert state
    assert all(torch.equal(simulation.server[name], kept) for name, kept in state.items())
    caplog.clear()
    result = simulate(run)
    said = [f"round {r}: no client delivers (dropout 5); the model stays as it is" for r in (1, 2, 3, 4)]
    assert caplog.messages == said
    asked = [sample_cohort(0, round, 7, 5) for round in range(4)]
    assert [record["dropped"]["dropout"] for record in result.metrics] == [asked[1], asked[3]]
    for record in result.metrics:
        assert (record["clients"], record["steps"], record["train_loss"], record["bytes_up"]) == ([], [], None, 0)
        assert record["bytes_down"] == 2 * 5 * 4 * simulation.theta_P.numel()
        counts = {"rounds": 2, "empty": 2, "asked": 10, "trained": 0, "shortened": 0}
        assert record["turnout"] == counts | {"dropout": 10, "work": 0, "deadline": 0}


def test_drop_outs_are_as_frequent_as_asked_for_and_keyed() -> None:
    found = [participation(round, dropout=0.3) for round in range(50)]
    out = np.array([[client in one.dropped["dropout"] for client in IDS] for one in found])
    assert abs(out.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / out.size)
    assert np.all(out.mean(axis=0) < 0.7)  # no client and no round stands out
    assert np.all(np.abs(out.mean(axis=1) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 200))
    again = Simulated(dropout=0.3).participation(0, 7, IDS[50:90], SIZES[50:90], STEPS[50:90])
    assert again.dropped["dropout"] == [client for client in range(50, 90) if out[7, client]]
    assert participation(7, seed=1, dropout=0.3).dropped != found[7].dropped


def test_weights_are_shares_of_those_that_deliver() -> None:
    run = simulated(dropout=0.4, cohort=7, **{"engine.precision": "fp64"})
    simulation = Simulation(run)
    before_P, order = simulation.theta_P, simulation.order(simulation.clock(), 0.1)
    assert 0 < len(order.ids) < 7
    sizes = simulation.federation.sizes(order.ids)
    np.testing.assert_allclose(order.weight_K, sizes / sizes.sum())
    deltas = {block.ids[0]: block.update_JP[0] for block in simulation.trainer.train(before_P, order)}
    ids, _ = simulation.advance()
    assert ids == order.ids
    expected_P = before_P + sum(n / sizes.sum() * deltas[k] for k, n in zip(ids, sizes, strict=True))
    assert torch.allclose(simulation.theta_P, expected_P, rtol=1e-12, atol=1e-12)
    size = 8 * before_P.numel()
    assert (simulation.bytes_down, simulation.bytes_up) == (7 * size, len(ids) * size)


# --- partial work ------------------------------------------------------------------------------------------------


def test_all_the_work_is_all_steps_and_none_of_it_is_nobody() -> None:
    assert steps_of(participation(work_min=1.0, work_max=1.0)) == dict(zip(IDS, STEPS.tolist(), strict=True))
    assert participation().shortened == 0
    nothing = participation(work_min=0.0, work_max=0.0)
    assert (nothing.ids, nothing.dropped["work"], nothing.asked, nothing.seconds) == ([], IDS, 200, 0.0)
    result = simulate(simulated(work_min=0.0, work_max=0.0))
    assert all(record["clients"] == [] and len(record["dropped"]["work"]) == 5 for record in result.metrics)
    assert result.digest == simulate(simulated(dropout=1.0)).digest


@pytest.mark.parametrize(("share", "expected"), [(0.5, [2, 2, 2, 3, 5, 6, 9]), (0.1, [0, 0, 0, 1, 1, 1, 2])])
def test_a_fixed_share_is_rounded_to_whole_steps(share: float, expected: list[int]) -> None:
    """Of 3, 3, 3, 6, 9, 12 and 18 steps; halves up."""
    assert STEPS[:7].tolist() == [3, 3, 3, 6, 9, 12, 18]
    found = participation(work_min=share, work_max=share)
    assert [steps_of(found).get(client, 0) for client in range(7)] == expected
    assert found.dropped["work"] == [client for client in IDS if not expected[client % 7]]


def test_shares_of_work_are_uniform_and_new_in_every_round() -> None:
    long_K = np.full(200, 10**6)
    found = [Simulated(work_min=0.2, work_max=0.8).participation(0, round, IDS, SIZES, long_K) for round in range(20)]
    shares = np.array([one.steps_K for one in found]) / 1e6
    assert 0.2 <= shares.min() < 0.205
    assert 0.795 < shares.max() <= 0.8
    np.testing.assert_allclose(np.quantile(shares, [0.25, 0.5, 0.75]), [0.35, 0.5, 0.65], atol=0.02)
    assert len(np.unique(shares)) > 3900
    assert found[0].shortened == 200


def test_a_client_does_the_first_steps_of_its_plan() -> None:
    """Against a loop of plain SGD over the batches that it would see in a whole round."""
    run = simulated(work_min=0.5, work_max=0.5, cohort=7, **{"engine.precision": "fp64", "client.lr": 0.05})
    whole = Simulation(run.replace(system="none"))
    _, plans = whole.context.plan(whole.federation, whole.order(whole.clock(), 0.05))
    store, layout = whole.federation.train, whole.context.layout
    deltas, losses = trained(run)
    for plan in plans:
        theta_P, seen, total = whole.theta_P, 0, 0.0
        for t in range(math.floor(len(plan.count_T) / 2 + 0.5)):
            batch = plan.index_TB[t, : plan.count_T[t]]
            inputs = whole.context.prepare(torch.from_numpy(store.inputs[batch]))
            labels = torch.from_numpy(store.targets[batch])

            def loss(at_P: torch.Tensor, inputs: Any = inputs, labels: Any = labels) -> torch.Tensor:
                return F.cross_entropy(functional_call(whole.context.module, layout.views(at_P), (inputs,)), labels)

            leaf_P = theta_P.clone().requires_grad_()
            seen, total = seen + len(batch), total + len(batch) * float(loss(theta_P))
            (gradient_P,) = torch.autograd.grad(loss(leaf_P), leaf_P)
            theta_P = theta_P - 0.05 * gradient_P
        expected_P = theta_P - whole.theta_P
        assert (deltas[plan.client] - expected_P).norm() <= 1e-10 * expected_P.norm()
        assert losses[plan.client] == pytest.approx(total / seen, rel=1e-10)


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("server", ["fedavg", "scaffold", "fedcm", "fedswa"])
def test_engines_agree_on_partial_work(server: str, engine: str) -> None:
    """Also where the number of steps done enters the algorithm."""
    keys = {"work_min": 0.3, "cohort": 7, "server.name": server, "engine.precision": "fp64", "data": Ragged()}
    loop, other = (simulated(**keys, **{"engine.name": name, "engine.block": 3}) for name in (SLOWEST, engine))
    assert_same(trained(loop), trained(other))
    models = []
    for run in (loop, other):
        simulation = Simulation(run)
        for _ in range(3):
            simulation.advance()
        models.append(simulation.theta_P)
    assert (models[0] - models[1]).norm() <= 1e-10 * models[0].norm()
    full = simulate(simulated(**{**keys, "work_min": 1.0, "engine.name": "loop"})).digest
    assert full != simulate(loop).digest


def test_scaffold_divides_by_the_steps_that_were_done() -> None:
    """Karimireddy et al. 2020, option II: c_k becomes c_k − c + (x − y_k) / (K_k η), here from c_k = c = 0."""
    keys = {"work_min": 0.5, "work_max": 0.5, "cohort": 7, "server.name": "scaffold", "engine.precision": "fp64"}
    simulation = Simulation(simulated(**keys))
    lr = simulation.run.client.base_optimizer.lr
    blocks = list(simulation.trainer.train(simulation.theta_P, simulation.order(simulation.clock(), lr)))
    simulation.advance()
    assert len(blocks) == 7
    for block in blocks:
        (client,) = block.ids
        steps = math.floor(3 * math.ceil(RaggedFederation.SIZES[client] / 4) / 2 + 0.5)
        control_P = simulation.client_state.rows([client])["control"][0]
        assert torch.allclose(control_P, -block.update_JP[0] / (lr * steps), rtol=1e-10, atol=1e-14)


# --- slow clients ------------------------------------------------------------------------------------------------


def seconds_of(keys: dict[str, Any]) -> np.ndarray:
    return np.array([Simulated(**keys).step_seconds_of(0, client) for client in IDS])


def test_the_seconds_of_a_step_are_lognormal_and_fixed_for_each_client() -> None:
    assert np.all(seconds_of({"step_seconds": 2.5}) == 2.5)
    logs = np.log(seconds_of({"step_seconds": 2.5, "spread": 0.6}))
    assert abs(logs.mean() - math.log(2.5)) < 4 * 0.6 / math.sqrt(200)
    assert abs(logs.std() - 0.6) < 4 * 0.6 / math.sqrt(400)
    assert len(np.unique(logs)) == 200
    wide = np.log(seconds_of({"step_seconds": 2.5, "spread": 1.2}))
    np.testing.assert_allclose(wide - math.log(2.5), 2 * (logs - math.log(2.5)))


def test_without_a_deadline_a_round_takes_as_long_as_its_slowest_client() -> None:
    keys = {"spread": 0.8, "step_seconds": 0.5}
    found, tau = participation(3, **keys), seconds_of(keys)
    assert found.ids == IDS
    assert found.seconds == pytest.approx(float((tau * STEPS).max()))
    some = participation(3, dropout=0.9, **keys)
    assert 0 < len(some.ids) < 50
    assert some.seconds == pytest.approx(max(tau[client] * STEPS[client] for client in some.ids))


@pytest.mark.parametrize("late", ["drop", "partial"])
def test_what_is_late_is_left_out_or_delivers_what_it_has_done(late: str) -> None:
    keys = {"spread": 1.0, "step_seconds": 1.0, "deadline": 5.0, "late": late}
    found, tau = participation(**keys), seconds_of(keys)
    in_time = tau * STEPS <= 5.0
    assert 0 < in_time.sum() < 200
    done = np.where(in_time, STEPS, np.floor(5.0 / tau) if late == "partial" else 0).astype(int)
    assert steps_of(found) == {client: done[client] for client in IDS if done[client]}
    assert found.dropped["deadline"] == [client for client in IDS if not done[client]]
    assert found.seconds == 5.0
    assert found.shortened == int(((done > 0) & (done < STEPS)).sum())
    assert (found.shortened > 0) == (late == "partial")
    np.testing.assert_array_equal(found.sizes_K, SIZES[found.ids])


def test_a_deadline_that_all_meet_costs_nothing_and_one_exactly_met_is_met() -> None:
    generous = participation(deadline=1000.0)
    assert (generous.seconds, generous.shortened, generous.ids) == (18.0, 0, IDS)
    exact = participation(deadline=9.0)
    assert exact.dropped["deadline"] == [client for client in IDS if STEPS[client] > 9]
    assert exact.seconds == 9.0
    shorter = participation(deadline=9.0, work_min=0.5, work_max=0.5)
    assert (shorter.ids, shorter.seconds, shorter.shortened) == (IDS, 9.0, 200)
    early = participation(deadline=10.0, work_min=0.5, work_max=0.5)
    assert (early.seconds, early.shortened) == (9.0, 200)  # nobody is late
    hopeless = participation(deadline=0.5)
    assert (hopeless.ids, hopeless.seconds) == ([], 0.5)


def test_simulated_seconds_add_up() -> None:
    run = simulated(spread=0.7, deadline=8.0, late="partial", work_min=0.5, evaluate_every=2)
    result, simulation = simulate(run), Simulation(run)
    total, times = 0.0, []
    for _ in range(4):
        found = simulation.participation(simulation.clock())
        total += found.seconds
        times.append(total)
        simulation.advance()
    assert [record["simulated_seconds"] for record in result.metrics] == [times[1], times[3]]
    assert result.metrics[1]["steps"] == found.steps_K.tolist()  # type: ignore[union-attr]
    assert result.metrics[1]["clients"] == found.ids
    assert result.metrics[1]["turnout"]["asked"] == 10


# --- availability ------------------------------------------------------------------------------------------------


def there(round: int, clients: int, period: int, window: int, seed: int = 0) -> list[int]:
    """The definition, client by client."""
    return [c for c, phase in enumerate(phases(seed, clients, period)) if (round + int(phase)) % period < window]


@pytest.mark.parametrize(("period", "window"), [(1, 1), (5, 1), (5, 3), (5, 4), (24, 7)])
def test_whoever_is_sampled_is_available_and_all_of_them_if_they_are_few(period: int, window: int) -> None:
    for round in range(2 * period + 1):
        available = there(round, 60, period, window)
        found = sample_available(0, round, 60, 4, period, window)
        assert found == sorted(set(found))
        assert len(found) == min(4, len(available))
        assert set(found) <= set(available)
        assert sample_available(0, round, 60, 60, period, window) == available


def test_all_available_clients_are_sampled_alike() -> None:
    counts = Counter(c for round in range(3, 30_000, 6) for c in sample_available(1, round, 20, 2, 6, 4))
    available = there(3, 20, 6, 4, seed=1)
    assert set(counts) == set(available)
    expected = 5000 * 2 / len(available)
    assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in counts.values())


def test_phases_do_not_depend_on_how_many_clients_there_are() -> None:
    for period in (2, 24, 1000):
        many = phases(5, 1000, period)
        assert (many.min(), many.max()) >= (0, period // 2)
        np.testing.assert_array_equal(phases(5, 37, period), many[:37])
    assert np.bincount(phases(0, 24_000, 24)).min() > 850


def test_a_window_is_a_share_of_the_period_and_never_empty() -> None:
    assert [Simulated(available=a, period=p).window for a, p in [(0.5, 24), (0.01, 24), (1, 24), (0.3, 10)]] == [
        12,
        1,
        24,
        3,
    ]
    assert Simulated().sample(0, 3, 100, 5) == sample_cohort(0, 3, 100, 5)


def test_a_million_clients_cost_no_loop_over_them() -> None:
    system = Simulated(available=0.25)
    began = time.perf_counter()
    for round in range(200):
        assert len(system.sample(0, round, 10**6, 50)) == 50
    assert time.perf_counter() - began < 2.0


def test_a_run_with_nobody_there_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    run = simulated(available=0.02, period=50, rounds=12, cohort=7)
    result = simulate(run)
    expected = [there(round, 7, 50, 1) for round in range(12)]
    assert [record["clients"] for record in result.metrics] == expected
    empty = [round + 1 for round, ids in enumerate(expected) if not ids]
    said = [f"round {r}: no client delivers (nobody was there); the model stays as it is" for r in empty]
    assert empty
    assert caplog.messages == said


# --- runs --------------------------------------------------------------------------------------------------------

EVERYTHING = {"dropout": 0.3, "work_min": 0.1, "spread": 0.8, "deadline": 9.0, "late": "partial", "available": 0.7}


@pytest.mark.parametrize("at", [1, 4, 5])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, at: int) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    changes = {**EVERYTHING, "rounds": 8, "evaluate_every": 3, "checkpoint_every": 1, "server.name": "scaffold"}
    simulate(simulated(out=str(whole), **changes))
    listener = StopAt(at)
    with pytest.raises(Interrupted):
        simulate(simulated(out=str(stopped), **changes), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
    last = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["turnout"]["rounds"] == 2
    assert last["simulated_seconds"] > 9.0


@pytest.mark.parametrize("data", [Broken(), Refusing()])
def test_a_clients_failure_is_apart_from_its_turnout(data: Ragged) -> None:
    keys: dict[str, Any] = {"data": data, "engine.on_client_error": "skip"}
    run = simulated(dropout=0.2, work_min=0.5, cohort=7, rounds=3, **keys)
    for record in simulate(run).metrics:
        out = record["dropped"]["dropout"]
        failed = [failure["client"] for failure in record.get("failures", [])]
        assert sorted([*record["clients"], *out, *failed]) == list(range(7))
        assert len(record["steps"]) == len(record["clients"]) == record["turnout"]["trained"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"system.dropout": 1.5}, r"system\.dropout = 1\.5: must be at most 1"),
        ({"system.work_min": 0.8, "system.work_max": 0.5}, r"system\.work_min = 0\.8: must be at most work_max = 0\.5"),
        ({"system.available": 0}, r"system\.available = 0: must be greater than 0"),
        ({"system.deadline": 0}, r"system\.deadline = 0: must be greater than 0"),
        ({"system.late": "never"}, r"system\.late = never: must be one of 'drop' or 'partial'"),
        ({"system.name": "none", "system.dropout": 0.1}, r"system\.dropout = 0\.1: no such key here"),
    ],
)
def test_impossible_settings_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        described(**{"system.name": "simulated", **keys})


def test_keys_survive_a_round_trip() -> None:
    run = Run.from_keys({"system.name": "simulated", **{f"system.{name}": value for name, value in EVERYTHING.items()}})
    assert run.system.keys() | EVERYTHING == run.system.keys()
    assert Run.from_keys(run.keys()) == run
