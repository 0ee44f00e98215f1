"""System heterogeneity and diagnostics in other processes: the bits and records of the engine that runs there."""

from __future__ import annotations

from typing import Any

import pytest

from fedsam import Run, simulate
from fedsam.result import Result
from tests.conftest import Ragged
from tests.test_resume import TIMES

pytest.importorskip("ray")
from tests.test_ray import cluster, pytestmark  # noqa: F401

REAL = {"system.name": "simulated", "system.dropout": 0.2, "system.work_min": 0.2, "system.spread": 0.8}
REAL |= {"system.deadline": 12.0, "system.late": "partial", "system.available": 0.8}


def described(engine: str, **changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 8, "cohort": 7, "rounds": 3, "evaluate_every": 1, "engine.threads": 1}
    return Run.from_keys({**keys, "engine.name": engine, "engine.block": 3, **changes})


def told(result: Result) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in result.metrics]


@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_bits_and_records_of_the_cohort() -> None:
    """Which clients form a block goes by the steps that they do."""
    changes = {**REAL, "diagnostics.every": 2, "server.name": "scaffold"}
    here = simulate(described("cohort", **changes))
    there = simulate(described("ray", **changes, **{"engine.workers": 2}))
    assert there.digest == here.digest
    assert told(there) == told(here)
    assert sum(record["turnout"]["shortened"] for record in here.metrics) > 3


@pytest.mark.usefixtures("cluster")
def test_measuring_updates_changes_no_bit() -> None:
    """Workers train three clients one by one and add them up before they answer."""
    changes = {"model.width": 2500, "rounds": 2}
    on, off = (
        simulate(described("ray", **changes, **{"engine.workers": workers, "diagnostics.every": every}))
        for workers, every in ((2, 1), (1, 0))
    )
    assert on.digest == off.digest
    assert on.metrics[0]["diagnostics"]["clients"] == 7
    here = simulate(described("loop", **changes, **{"diagnostics.every": 1}))
    for one, other in zip(here.metrics, on.metrics, strict=True):
        assert one["diagnostics"] == pytest.approx(other["diagnostics"], rel=1e-3)
