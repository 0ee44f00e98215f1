"""`fedsam tune` as a whole, with Ray Tune: killed and started again, it ends in the same trials."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tests.support.commands import FEDSAM, failing

pytest.importorskip("optuna")

SPACE = [
    "client.name=sgd,sam",
    "client.rho=log:1e-2..1",
    "client.lr=0.003,0.03,0.3,1e30",
    "data.clients=10",
    "cohort=2",
]
SPACE += ["--rounds", "9", "--trials", "7", "--seeds", "2", "--workers", "2", "--out", "t"]


def told(folder: Path) -> list[dict[str, Any]]:
    """All trials, but for the time they took."""
    lines = (folder / "t" / "trials.csv").read_text().splitlines()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(lines)]


def kill_and_start_again(folder: Path) -> dict[Path, str]:
    """The records of the first two trials, as they were when it was killed."""
    process = subprocess.Popen([*FEDSAM, "tune", *SPACE, "-q"], cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(folder.glob("t/trials/*/trial.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "t" / "trials.csv").exists()
    records = {path: path.read_text() for path in folder.glob("t/trials/000[01]/metrics.jsonl")}
    again = subprocess.run([*FEDSAM, "tune", *SPACE], cwd=folder, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    return records


@pytest.mark.slow
def test_killed_and_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one that is left alone."""
    results = Path("~/ray_results").expanduser()
    before = results.stat().st_mtime_ns if results.exists() else None
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    with subprocess.Popen([*FEDSAM, "tune", *SPACE, "--json"], cwd=whole, stdout=PIPE, stderr=PIPE, text=True) as other:
        records = kill_and_start_again(killed)
        told_json, said = other.communicate()
    assert other.returncode == 0, said
    summary = json.loads(told_json)
    assert all(line.startswith(("trial ", "best settings, seed ")) for line in said.split("\n") if line)
    trials = told(whole)
    assert len(trials) == 7 == summary["done"] + summary["stopped"] + summary["failed"]
    assert summary["stopped"] > 0
    assert summary["failed"] > 0
    assert all("not finite" in row["error"] for row in trials if row["state"] == "failed")

    assert told(killed) == trials
    assert records
    assert {path: path.read_text() for path in records} == records  # they were not trained again
    for name in ("best.toml", "tune.json"):
        assert (killed / "t" / name).read_text() == (whole / "t" / name).read_text()

    def finals(folder: Path) -> dict[int, float]:
        runs = {path: json.loads((path / "run.json").read_text()) for path in (folder / "t" / "best").iterdir()}
        last = {path: json.loads((path / "metrics.jsonl").read_text()) for path in runs}  # one record
        return {runs[path]["keys"]["seed"]: last[path]["test_accuracy"] for path in runs}

    assert finals(killed) == finals(whole) == dict(zip(summary["seeds"], summary["test_accuracy"], strict=True))
    seeds = [json.loads(path.read_text())["keys"]["seed"] for path in killed.glob("t/trials/*/run.json")]
    assert set(seeds) == {0}
    assert not set(seeds) & set(finals(killed))
    assert all("test_accuracy" not in path.read_text() for path in killed.glob("t/trials/*/*.json*"))
    assert (killed / "t" / "report.html").stat().st_size > 10**6
    assert not list(killed.rglob("*.pkl"))
    assert (results.stat().st_mtime_ns if results.exists() else None) == before

    monkeypatch.chdir(killed)
    status, err = failing(capsys, "tune", *SPACE, "--trials", "8")
    assert status == 2
    assert "holds another tuning, with other values of trials; choose another out" in err
