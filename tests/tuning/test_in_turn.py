"""One trial at a time, in this process: the same trials as Ray's, and taken up where it was stopped."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fedsam.errors import Interrupted, RunError
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.tuning.ledger import Ledger, Trial
from fedsam.tuning.tune import Settings, tune

pytest.importorskip("optuna")

KEYS = {"client.name": "sgd,sam", "client.rho": "log:1e-2..1", "client.lr": "0.003,0.03,0.3,1e30"}
KEYS |= {"data.clients": "10", "cohort": "2"}
ASKED = Settings(KEYS, rounds=9, trials=7, seeds=2)


class StopAfter(Progress):
    """Sets the event once so many runs have ended."""

    def __init__(self, runs: int, stop: threading.Event) -> None:
        super().__init__(quiet=True)
        self.left, self.stop = runs, stop

    def ended(self, label: str, done: int) -> None:
        self.left -= 1
        if not self.left:
            self.stop.set()


def told(out: Path) -> list[dict[str, Any]]:
    """All trials, but for the time they took."""
    lines = (out / "trials.csv").read_text().splitlines()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(lines)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "whole"
    tune(ASKED, out, Progress(quiet=True))
    return out


def test_trials_end_stop_and_diverge(whole: Path) -> None:
    trials = told(whole)
    assert {row["state"] for row in trials} == {"done", "stopped", "failed"}
    assert len(trials) == 7
    assert all("not finite" in row["error"] for row in trials if row["state"] == "failed")
    stopped = next(row for row in trials if row["state"] == "stopped")
    records = (whole / "trials" / f"{int(stopped['trial']):04d}" / "metrics.jsonl").read_text().splitlines()
    assert len(records) == int(stopped["rounds"]) < 9


@pytest.mark.parametrize("runs", [1, 4, 7, 8])
def test_stopped_and_begun_anew_it_ends_in_the_same(whole: Path, tmp_path: Path, runs: int) -> None:
    out, stop = tmp_path / "out", threading.Event()
    with pytest.raises(Interrupted, match="stopped; the same command again goes on"):
        tune(ASKED, out, StopAfter(runs, stop), stop)
    assert (out / "trials.csv").exists() == (runs >= 7)
    records = {path: path.read_bytes() for path in out.glob("trials/*/metrics.jsonl")}
    tuned = tune(ASKED, out, Progress(quiet=True))
    assert told(out) == told(whole)
    assert all(path.read_bytes().startswith(content) for path, content in records.items())
    assert (out / "best.toml").read_bytes() == (whole / "best.toml").read_bytes()
    assert list(tuned.tested) == [1000, 1001]


def test_the_trial_that_goes_on_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Progress, "EVERY", 0.0)
    with Progress() as progress:
        tune(ASKED, tmp_path / "out", progress)
    said = capsys.readouterr().err
    assert re.search(r"^trial 1, round 1[0-8] of 81, \S+ rounds/s, \d+ s left, validation accuracy", said, re.M)
    assert re.search(r"^best settings, seed 1001, round 81 of 81,", said, re.M)
    assert "81 of 81 rounds\n" in said


@pytest.mark.slow
def test_one_worker_of_ray_carries_out_the_same_trials(whole: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom fedsam.runs.progress import Progress\n"
        "from fedsam.tuning import drive, tune as module\nfrom fedsam.tuning.tune import Settings, tune\n"
        "module.InTurn = lambda progress, stop: drive.OnRay(1, None, stop)\n"
        f"tune({ASKED!r}, Path('out'), Progress(quiet=True))\nimport sys; assert 'ray' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert told(tmp_path / "out") == told(whole)
    assert (tmp_path / "out" / "best.toml").read_bytes() == (whole / "best.toml").read_bytes()


def test_what_is_wrong_with_a_trial_names_it(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "trials").mkdir(parents=True)
    (out / "tune.json").write_bytes((whole / "tune.json").read_bytes())
    (out / "trials" / "0000").write_text("a file where the first trial is to lie")
    with pytest.raises(RunError, match=r"^trial 0: .*0000.*; the same command again goes on from the checkpoints$"):
        tune(ASKED, out, Progress(quiet=True))


def test_nothing_of_ray_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, fedsam; sys.modules['ray'] = None\n"
        "keys = {'client.lr': '0.1,0.2', 'rounds': 2}\n"
        "fedsam.tune(None, keys, trials=2, seeds=1, search='grid', out='t', quiet=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "best.toml").exists()


def test_the_run_of_a_trial_is_asked_for_as_it_begins(tmp_path: Path) -> None:
    """What is tried depends on what came before."""
    from fedsam.tuning.halving import Halving
    from fedsam.tuning.in_turn import InTurn
    from fedsam.tuning.search.random import Random
    from fedsam.tuning.space import space_of

    space, asked = space_of({"client.lr": "0.1..0.2", "rounds": 2, "evaluate_every": 1, "checkpoint_every": 1}), []
    ledger = Ledger(Random().start(space, 0, 3), Halving(2, 1), 3, 1)

    def run_of(trial: Trial) -> Run:
        asked.append([each.outcome is not None for each in ledger.trials])
        keys = {**space.keys(trial.values), "out": str(tmp_path / str(trial.number))}
        return Run.from_keys(keys | {"data.validation": 0.2})

    InTurn(Progress(quiet=True)).drive(ledger, run_of, [])
    assert asked == [[False], [True, False], [True, True, False]]
    assert ledger.complete
