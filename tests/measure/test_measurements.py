"""What is measured in the course of a run: what all measurements that are discovered must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedsam import Run, resume, simulate
from fedsam.config import root_of
from fedsam.errors import Interrupted
from fedsam.measure.base import Measurement
from tests.support.discovered import found
from tests.support.interrupted import StopAt, outcome

SMALL = {"data.clients": 6, "data.samples_per_client": 20, "data.local_test": 0.2, "model.width": 4, "cohort": 3}
SMALL |= {"rounds": 5, "evaluate_every": 5, "client.epochs": 1, "engine.threads": 1, "checkpoint_every": 1}
GROUPS: dict[str, Any] = {
    group: kind
    for group, field in Run.model_fields.items()
    if (kind := root_of(field)) and issubclass(kind, Measurement)
}
EACH = [(group, name) for group, kind in GROUPS.items() for name in found(kind)]
every = pytest.mark.parametrize(("group", "name"), EACH)


def described(group: str, name: str, **changes: Any) -> Run:
    return Run.from_keys({**SMALL, f"{group}.name": name, f"{group}.every": 2, **changes})


def test_groups_of_measurements_are_found() -> None:
    assert {"geometry", "diagnostics", "local"} <= set(GROUPS)
    assert {kind.__name__ for kind in GROUPS.values()} >= {"Probe", "LocalProbe", "Diagnostics"}


@every
def test_a_run_does_not_notice_that_it_is_measured(group: str, name: str) -> None:
    measured, plain = simulate(described(group, name)), simulate(described(group, name, **{f"{group}.every": 0}))
    assert measured.digest == plain.digest
    assert [record["round"] for record in measured.metrics] == [2, 4, 5]  # the last one, too
    assert [record["round"] for record in plain.metrics] == [5]
    assert all(record[group] for record in measured.metrics)
    assert group not in plain.metrics[-1]
    scores = {key: value for key, value in plain.metrics[-1].items() if key.startswith("test_")}
    assert scores
    assert {key: measured.metrics[-1][key] for key in scores} == scores


@every
def test_what_is_measured_is_plain_json_and_the_same_after_a_stop(group: str, name: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    result = simulate(described(group, name, out=str(whole)))
    for record, line in zip(result.metrics, (whole / "metrics.jsonl").read_text().splitlines(), strict=True):
        assert json.loads(json.dumps(record[group], allow_nan=False)) == json.loads(line)[group]
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(group, name, out=str(stopped)), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
