"""Systems: what all that are discovered must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import Run, resume, simulate
from fedsam.data.plan import local_steps
from fedsam.errors import Interrupted
from fedsam.system.base import System
from tests.support.discovered import found, made
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged, RaggedFederation

SYSTEM: Any = System
SYSTEMS = found(SYSTEM)
UNRELIABLE: dict[str, Any] = {"dropout": 0.3, "work_min": 0.0, "spread": 1.0, "deadline": 8.0, "available": 0.5}
VALUES: dict[str, dict[str, Any]] = {"simulated": UNRELIABLE}
"""By default devices are ideal, of which there is little to see."""

IDS = list(range(3, 150, 2))
SIZES_K = np.array([RaggedFederation.SIZES[k % 7] for k in IDS])
STEPS_K = local_steps(SIZES_K, 4, 3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_round_asks_some_clients_once(name: str) -> None:
    system = made(SYSTEM, name, VALUES)
    rounds = [system.sample(7, round, 40, 12) for round in range(30)]
    for asked in rounds:
        assert asked == sorted(set(asked))
        assert all(0 <= client < 40 for client in asked)
        assert len(asked) <= 12
    assert rounds == [system.sample(7, round, 40, 12) for round in range(30)]
    assert rounds != [system.sample(8, round, 40, 12) for round in range(30)]
    assert len(set(map(tuple, rounds))) > 20
    assert set(range(40)) == {client for asked in rounds for client in asked}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_client_that_is_asked_delivers_or_has_a_reason(name: str) -> None:
    system, seen = made(SYSTEM, name, VALUES), set[str]()
    for round in range(5):
        got = system.participation(7, round, IDS, SIZES_K, STEPS_K)
        assert got.ids == sorted(got.ids)
        assert sorted([*got.ids, *(client for each in got.dropped.values() for client in each)]) == IDS
        assert got.asked == len(IDS)
        assert set(got.dropped) <= set(system.reasons)
        seen |= {reason for reason, clients in got.dropped.items() if clients}
        rows = [IDS.index(client) for client in got.ids]
        np.testing.assert_array_equal(got.sizes_K, SIZES_K[rows])
        assert got.seconds >= 0
        if got.steps_K is None:
            assert got.shortened == 0
        else:
            assert (got.steps_K >= 1).all()
            assert (got.steps_K <= STEPS_K[rows]).all()
            assert got.shortened == (got.steps_K < STEPS_K[rows]).sum()
    assert seen == set(system.reasons), "values under which the others never happen try nothing"


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_becomes_of_a_client_is_its_own_affair(name: str) -> None:
    """The same whoever else is asked, and in every process: draws are keyed."""
    system = made(SYSTEM, name, VALUES)
    whole, part = (system.participation(7, 2, IDS[:n], SIZES_K[:n], STEPS_K[:n]) for n in (len(IDS), 30))
    assert part.ids == [client for client in whole.ids if client in IDS[:30]]
    if part.steps_K is not None:
        np.testing.assert_array_equal(part.steps_K, whole.steps_K[: len(part.ids)])


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_resumed_run_ends_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    keys = {"data": Ragged(), "model.width": 4, "cohort": 5, "rounds": 4, "evaluate_every": 1, "checkpoint_every": 1}
    keys |= {"engine.name": "loop", "engine.threads": 1, "client.batch_size": 4, "system.name": name}
    keys |= {f"system.{key}": value for key, value in VALUES.get(name, {}).items()}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(Run.from_keys({**keys, "out": str(whole)}))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(Run.from_keys({**keys, "out": str(stopped)}), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
    turnout = "turnout" in json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])
    assert turnout == bool(made(SYSTEM, name, VALUES).reasons)
