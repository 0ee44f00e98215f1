"""Where the time of a job goes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fedsam.bench import jobs
from fedsam.bench.common.phases import Clock
from fedsam.errors import RunError


def test_a_phase_within_another_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 7.0, 8.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Clock()
    inner = clock.timed("evaluate", lambda: None)
    clock.timed("train", inner)()
    clock.turn()
    assert dict(clock.seconds) == {"else": 1.0 + 12.0, "train": 2.0 + 1.0, "evaluate": 4.0}


def test_phases_add_up_to_the_time_of_the_job(tmp_path: Path) -> None:
    found = jobs.phases_of(("run", "rounds=1", "data.clients=4", "cohort=2", "client.epochs=1"), tmp_path)
    assert {"import", "build", "train", "evaluate", "write", "report", "start"} <= found.keys()
    assert sum(found.values()) == pytest.approx(2 * found["all"])
    assert min(found.values()) >= 0


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="rounds = 0"):
        jobs.phases_of(("run", "rounds=0"), tmp_path)


def test_rows_have_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def phases_of(words: tuple[str, ...], folder: Path) -> dict[str, float]:
        asked.append(words)
        return {"train": 3.0, "import": 1.0, "all": 4.0}

    monkeypatch.setattr(jobs, "phases_of", phases_of)
    monkeypatch.setattr(jobs, "JOBS", {"a report": ("report", "RUN")})
    found = [(row.variant, row.note) for row in jobs.rows(1)]
    assert found == [("a report", ""), ("a report: import", "25%"), ("a report: train", "75%")]
    assert asked == [jobs.RUN, ("report", "RUN")]
