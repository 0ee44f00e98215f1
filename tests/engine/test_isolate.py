"""Clients that raise errors: who it was, in which round and why; stop or go on without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsam import Run, RunError, simulate
from fedsam.data.base import Dataset
from fedsam.engine.isolate import attempt
from fedsam.federated.round_loop import Simulation
from tests.support.discovered import ENGINES
from tests.support.ragged import Ragged
from tests.support.unruly import Broken, Refusing


def described(engine: str, data: Dataset, policy: str = "stop", **changes: Any) -> Run:
    keys = {"engine.name": engine, "engine.precision": "fp64", "engine.on_client_error": policy, "data": data}
    return Run.from_keys({**keys, "cohort": 7, "rounds": 2, "evaluate_every": 1, **changes})


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_stops_the_run_and_names_client_round_and_cause(engine: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(RunError) as raised:
        simulate(described(engine, Refusing(), out=str(out)))
    assert "round 1: client 2: OSError: the disk of client 2 is gone (unruly.py:" in str(raised.value)
    assert "engine.on_client_error=skip" in str(raised.value)
    assert "Traceback (most recent call last)" in raised.value.__notes__[0]
    assert "in examples" in (out / "failures.log").read_text()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("data", "bad"), [(Refusing(), [2, 5]), (Broken(), [4])])
def test_skipped_clients_are_left_out_of_the_mean(
    engine: str, data: Dataset, bad: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mean of the others with weights that sum to 1, by hand from clients trained alone on sound data."""
    sound = Simulation(described(engine, Ragged()))
    order = sound.order(sound.clock(), 0.1)
    good = [row for row, client in enumerate(order.ids) if client not in bad]
    share = sum(float(order.weight_K[row]) for row in good)
    expected_P = sound.theta_P.clone()
    losses = 0.0
    for row in good:
        (alone,) = sound.trainer.train(sound.theta_P, order.part([row]))
        expected_P += alone.update_JP[0] * float(order.weight_K[row]) / share
        losses += float(alone.loss_K[0]) * float(order.weight_K[row]) / share
    simulation = Simulation(described(engine, data, "skip"))
    ids, _ = simulation.advance()
    assert ids == [client for client in range(7) if client not in bad]
    assert (simulation.theta_P - expected_P).norm() <= 1e-12 * expected_P.norm()
    assert float(simulation.loss) == pytest.approx(losses, rel=1e-12)
    size = 8 * expected_P.numel()
    assert (simulation.bytes_up, simulation.bytes_down) == (len(ids) * size, 7 * size)
    assert [f"client {client}:" in message for client, message in zip(bad, caplog.messages, strict=True)]

    caplog.clear()
    result = simulate(described(engine, data, "skip", out=str(tmp_path / "run")))
    assert [record["clients"] for record in result.metrics] == [ids, ids]
    recorded = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[1])["failures"]
    assert [(failure["round"], failure["client"]) for failure in recorded] == [(2, client) for client in bad]
    assert (tmp_path / "run" / "failures.log").read_text().count("Traceback") == 2 * len(bad)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_round_in_which_every_client_fails_stops_the_run(engine: str) -> None:
    with pytest.raises(RunError, match="round 1: no client delivered anything"):
        simulate(described(engine, Refusing(refuse="0,1,2,3,4,5,6"), "skip"))


def test_the_error_of_a_second_attempt_does_not_hide_that_of_the_first() -> None:
    def work(rows: list[int]) -> int:
        raise ValueError("of the block" if len(rows) > 1 else "of a block of one")

    rows, done, failures = attempt([0, 1], [7, 9], work)
    assert (rows, done) == ([], None)
    assert [found.client for found in failures] == [7, 9]
    for found in failures:
        first, second = found.error.split("; before that, as one block with others: ")
        assert first.startswith("ValueError: of a block of one (")
        assert second.startswith("ValueError: of the block (")
        assert found.trace.count("Traceback") == 2


def test_a_client_is_not_blamed_for_what_another_raised() -> None:
    def work(rows: list[int]) -> int:
        raise ValueError(f"client {rows[0]}")

    failures = attempt([0, 1], [7, 9], work)[2]
    assert [found.what for found in failures] == ["ValueError: client 0", "ValueError: client 1"]
    assert all(found.trace.count("Traceback") == 1 for found in failures)


def test_clients_that_fail_only_together_are_an_error_of_the_engine() -> None:
    def work(rows: list[int]) -> int:
        if len(rows) > 1:
            raise ValueError("too many")
        return rows[0]

    with pytest.raises(RunError, match=r"clients 7, 9, trained as one block, raised ValueError: too many"):
        attempt([0, 1], [7, 9], work)


def test_memory_and_our_own_errors_are_nobodys_fault() -> None:
    for error in (RunError("full"), torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):

        def work(rows: list[int], error: Exception = error) -> int:
            raise error

        with pytest.raises(type(error)):
            attempt([0], [0], work)
