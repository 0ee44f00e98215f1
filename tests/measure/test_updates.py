"""Diagnostics of client updates: each number against its definition, and a run that does not notice them."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsam import InputError, Run, resume, simulate
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.measure import updates as module
from fedsam.measure.base import Updates
from fedsam.measure.updates import UpdateDiagnostics
from tests.support.algorithms import Median
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged
from tests.support.unruly import Broken

HAND = [[3.0, 0.0, 0.0, 4.0], [0.0, 2.0, 0.0, 0.0], [-1.0, -1.0, 1.0, -1.0]]
SHARES = [0.5, 0.3, 0.2]


def direct(deltas: Any, shares: Any) -> dict[str, Any]:
    """The definitions, with loops over the clients."""
    rows = [np.asarray(row, dtype=np.float64) for row in deltas]
    p = [float(share) / float(sum(shares)) for share in shares]
    mean = sum(share * row for share, row in zip(p, rows, strict=True))
    norms = [math.sqrt(float(row @ row)) for row in rows]
    cosines = [float(rows[j] @ rows[k]) / (norms[j] * norms[k]) for j, k in combinations(range(len(rows)), 2)]
    square = float(mean @ mean)
    return {
        "norm_mean": sum(norms) / len(norms),
        "norm_std": math.sqrt(sum((n - sum(norms) / len(norms)) ** 2 for n in norms) / len(norms)),
        "mean_norm": math.sqrt(square),
        "cosine": sum(cosines) / len(cosines),
        "drift": sum(float(np.linalg.norm(row - mean)) for row in rows) / len(rows),
        "diversity": sum(share * n * n for share, n in zip(p, norms, strict=True)) / square,
        "negative": sum(float(row @ mean) < 0 for row in rows) / len(rows),
        "clients": len(rows),
    }


def measured(
    deltas: Any, shares: Any, cuts: tuple[int, ...] = (), dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """What is measured of these updates, arriving in blocks that end at `cuts`."""
    found, ends = Updates(), [0, *cuts, len(shares)]
    for begin, end in pairwise(ends):
        delta_KP, weight_K = (torch.tensor(part[begin:end], dtype=dtype) for part in (deltas, shares))
        found.add(list(range(begin, end)), delta_KP, weight_K)
    return UpdateDiagnostics().measure(found)


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2)])
@pytest.mark.parametrize("numbers", [3, 6, 100])
def test_three_clients_made_by_hand(cuts: tuple[int, ...], numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ELEMENTS", numbers)
    found = measured(HAND, SHARES, cuts, torch.float64)
    assert found == pytest.approx(direct(HAND, SHARES), rel=1e-12)
    # mean = (1.3, 0.4, 0.2, 1.8); norms 5, 2, 2; the third client's inner product with the mean is −3.3
    assert (found["norm_mean"], found["norm_std"]) == pytest.approx((3, math.sqrt(2)), rel=1e-12)
    assert found["mean_norm"] ** 2 == pytest.approx(1.69 + 0.16 + 0.04 + 3.24, rel=1e-12)
    assert found["cosine"] == pytest.approx((0 - 0.7 - 0.5) / 3, rel=1e-12)
    assert found["diversity"] == pytest.approx((0.5 * 25 + 0.3 * 4 + 0.2 * 4) / 5.13, rel=1e-12)
    assert found["negative"] == pytest.approx(1 / 3)
    assert found["clients"] == 3


def test_identities_of_equal_orthogonal_and_opposite_updates() -> None:
    equal = measured([[1.0, 2.0]] * 4, [0.1, 0.2, 0.3, 0.4])
    assert [equal[name] for name in ("cosine", "diversity", "negative", "norm_std")] == pytest.approx([1, 1, 0, 0])
    assert equal["drift"] == pytest.approx(0, abs=1e-7)
    orthogonal = measured(torch.eye(4).tolist(), [0.25] * 4)
    assert (orthogonal["cosine"], orthogonal["diversity"]) == pytest.approx((0, 4))
    opposite = measured([[1.0, 2.0], [-1.0, -2.0]], [0.5, 0.5])
    assert (opposite["cosine"], opposite["diversity"], opposite["mean_norm"]) == (pytest.approx(-1), None, 0)


def test_what_is_not_defined_is_none() -> None:
    alone = measured([[3.0, 4.0]], [1.0])
    assert (alone["norm_mean"], alone["cosine"], alone["diversity"], alone["drift"]) == (5, None, 1, 0)
    idle = measured([[3.0, 4.0], [0.0, 0.0], [4.0, 3.0]], [0.4, 0.2, 0.4])
    assert (idle["cosine"], idle["negative"]) == (pytest.approx(24 / 25), 0)
    nobody = UpdateDiagnostics().measure(Updates())
    assert nobody.pop("clients") == 0
    assert set(nobody.values()) == {None}
    assert nobody.keys() == alone.keys() - {"clients"}


def test_shares_are_those_of_the_clients_that_delivered() -> None:
    assert measured(HAND, [5.0, 3.0, 2.0], dtype=torch.float64) == pytest.approx(direct(HAND, SHARES), rel=1e-12)


def test_a_small_drift_of_single_precision_updates_does_not_cancel() -> None:
    delta_KP = torch.ones(3, 1000) + 1e-5 * torch.arange(3.0)[:, None]
    expected = direct(delta_KP.double().numpy(), SHARES)
    assert measured(delta_KP.tolist(), SHARES)["drift"] == pytest.approx(expected["drift"], rel=1e-6)


def described(**changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 8, "cohort": 5, "rounds": 5, "evaluate_every": 5, "engine.threads": 1}
    return Run.from_keys({**keys, "client.name": "sam", "diagnostics.every": 2, **changes})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"server.name": "scaffold", "client.name": "sgd"},
        {"server": Median()},
        {"data": Broken(), "cohort": 7, "engine.on_client_error": "skip", "engine.block": 1},
    ],
)
def test_a_run_measures_what_its_clients_deliver(engine: str, changes: dict[str, Any]) -> None:
    run = described(**changes, **{"engine.name": engine, "engine.precision": "fp64"})
    simulation = Simulation(run)
    simulation.advance()
    order, deltas = simulation.order(simulation.clock(), run.client.base_optimizer.lr), {}
    for block in simulation.trainer.train(simulation.theta_P, order):
        deltas |= dict(zip(block.ids, block.update_JP, strict=True))
    weights = dict(zip(order.ids, order.weight_K, strict=True))
    expected = direct([delta_P.numpy() for delta_P in deltas.values()], [weights[client] for client in deltas])
    record = simulate(run).metrics[0]
    assert record["round"] == 2
    assert sorted(deltas) == record["clients"]
    assert record["diagnostics"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("server", ["fedavg", "feddyn"])
def test_a_run_ends_in_the_same_bits_with_and_without(engine: str, server: str) -> None:
    changes = {"engine.name": engine, "engine.block": 2, "server.name": server}
    on, off = (simulate(described(**changes, **{"diagnostics.every": every})) for every in (2, 0))
    assert on.digest == off.digest
    assert [record["round"] for record in on.metrics] == [2, 4, 5]
    assert all("diagnostics" in record for record in on.metrics)
    assert [(record["round"], "diagnostics" in record) for record in off.metrics] == [(5, False)]


def test_only_rounds_that_are_due_are_measured_and_hold_updates() -> None:
    result = simulate(described(evaluate_every=1))
    assert [record["round"] for record in result.metrics if "diagnostics" in record] == [2, 4, 5]
    simulation = Simulation(described())
    held = []
    for _ in range(3):
        simulation.advance()
        held.append(len(simulation.updates.blocks) > 0)
    assert held == [False, True, False]


def test_a_resumed_run_has_the_same_records(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(described(out=str(whole), checkpoint_every=1))
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(out=str(stopped), checkpoint_every=1), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"diagnostics\.every = -1: must be at least 0"):
        described(**{"diagnostics.every": -1})
    with pytest.raises(InputError, match=r"diagnostics\.name = update: no such diagnostic; did you mean 'updates'\?"):
        described(**{"diagnostics.name": "update"})
