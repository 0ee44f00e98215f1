"""Sweeps: what is finished is not repeated, what was begun is continued, and one failure does not stop the others."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, RunError
from fedsam.errors import Interrupted
from fedsam.measure.score import ACCURACY
from fedsam.runs.naming import LONGEST, directory_names, former_names
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from fedsam.sweeps.grid import settings
from fedsam.sweeps.sweep import default_out, is_done, plan
from fedsam.sweeps.tables import as_csv, as_latex, as_markdown
from tests.support.commands import FEDSAM, ending, failing
from tests.support.interrupted import GRID, swept, table


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("sweep") / "whole"
    swept(out)
    return table(out)


class StopsIn(Progress):
    """Sets an event in the middle of the third run."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.stop, self.runs = threading.Event(), 0

    def next(self, label: str, offset: int) -> None:
        self.runs += 1
        super().next(label, offset)

    def round(self, done: int) -> None:
        super().round(done)
        if self.runs == 3 and done == 3:
            self.stop.set()


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    out, progress = tmp_path / "out", StopsIn()
    with pytest.raises(Interrupted, match=r"client\.rho=0\.4, seed 0: stopped after round 3 of 6"):
        swept(out, progress.stop, progress, apart=True)
    runs = plan(settings(GRID), 2, out)
    assert [is_done(job.run) for job in runs] == [True, True, False, False, False, False]
    before = (runs[0].path / "metrics.jsonl").stat().st_mtime_ns
    swept(out)
    assert table(out) == undisturbed
    assert (runs[0].path / "metrics.jsonl").stat().st_mtime_ns == before
    again = StopsIn()
    swept(out, progress=again)
    assert again.runs == 0
    assert {path.name for path in out.glob("table.*")} == {"table.csv", "table.md", "table.tex"}
    assert (out / "report.html").stat().st_size > 10**6


def test_a_sweep_that_is_killed_ends_in_the_same_table(
    inside: Path, undisturbed: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*(f"{name}={value}" for name, value in GRID.items()), "out=s", "--seeds", "2", "-q"]
    process = subprocess.Popen([*FEDSAM, "sweep", *arguments], stderr=subprocess.DEVNULL)
    out = inside / "s"
    deadline = time.monotonic() + 120
    while len(list(out.glob("*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "compare.json").exists()
    ending("sweep", *arguments)
    assert table(out) == undisturbed
    assert "report: s/report.html" in capsys.readouterr().out


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    keys = {name: value for name, value in GRID.items() if name != "client.rho"}
    keys |= {"client.name": "sgd", "client.lr": "0.1,1e30"}
    with pytest.raises(RunError, match=r"2 of 4 runs failed: client\.lr=1e\+?30, seed 0: .*not finite.*is in .*out"):
        compare(settings(keys), 2, Progress(quiet=True), out=out)
    assert [row["setting"] for row in table(out)] == ["client.lr=0.1"]
    assert "1e30" not in (out / "table.md").read_text()


def test_a_directory_of_another_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    swept(out)
    with pytest.raises(InputError, match=r"holds another run, with other values of client\.lr; choose another out"):
        swept(out, **{"client.lr": "0.3"})


def test_a_sweep_goes_on_in_directories_that_have_their_former_names(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", settings(GRID)
    jobs = plan(runs, 1, out)
    former = former_names(list(runs))
    Path(out / f"{former[jobs[1].setting]}-seed0").mkdir(parents=True)
    again = plan(runs, 1, out)
    assert [again[0].path, again[2].path] == [jobs[0].path, jobs[2].path]
    assert again[1].path == out / f"{former[jobs[1].setting]}-seed0" != jobs[1].path
    assert former_names(["client.name=sam data.alpha=0.1"]).popitem()[1] == "client-name-sam-data-alpha-0-1"


def test_names_of_directories_are_short_and_differ() -> None:
    found = directory_names(["client.lr=0.1", "client.lr=0-1", "a" * 300, ""])
    assert len(set(found.values())) == 4
    assert all(len(name) <= LONGEST + 9 for name in found.values())
    assert found[""] == "run"
    assert directory_names(["client.name=sam"]) == {"client.name=sam": "sam"}
    runs = settings(GRID)
    assert default_out(runs, 2) == default_out(settings(GRID), 2) != default_out(runs, 3)
    jobs = plan(runs, 3, Path("x"))
    assert len({job.path for job in jobs}) == len(jobs) == 9
    assert [job.run.seed for job in jobs] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_tables_for_programs_and_papers() -> None:
    rows: list[dict[str, Any]] = [
        {"setting": "a|b_c", "seeds": [0, 1], "test_accuracy": [0.5, 0.6], "mean": 0.55, "std": 0.0707},
        {"setting": "x&y", "seeds": [1], "test_accuracy": [0.7], "mean": 0.7, "std": 0.0},
    ]
    rows[1] |= {"difference": 0.1, "interval": None}
    found = list(csv.DictReader(as_csv(rows).splitlines()))
    assert [(row["seed 0"], row["seed 1"]) for row in found] == [("0.5", "0.6"), ("", "0.7")]
    assert found[1]["difference"] == "0.1"
    assert "| a\\|b_c | 55.00 ± 7.07 |  |" in as_markdown(rows, "What.", ACCURACY)
    latex = as_latex(rows, "What.", ACCURACY)
    assert r"a|b\_c & $55.00 \pm 7.07$ &  \\" in latex
    assert r"x\&y & $70.00$ & $+10.00$ \\" in latex


def test_the_command(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"{name}={value}" for name, value in GRID.items()]
    ending("sweep", *arguments, "--seeds", "1", "--json", "-q")
    rows = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in rows] == [
        f"client.name={c}" for c in ("sgd", "sam client.rho=0.2", "sam client.rho=0.4")
    ]
    (out,) = (path for path in Path("runs").iterdir() if path.is_dir())
    assert out.name.startswith("sweep-")
    ending("sweep", *arguments, "--seeds", "1", "-q")
    assert [path for path in Path("runs").iterdir() if path.is_dir()] == [out]
    capsys.readouterr()
    status, err = failing(capsys, "sweep", "client.name=sgd,samm")
    assert (status, err.count("\n")) == (2, 1)
    described = json.loads(next(out.glob("*/run.json")).read_text())["keys"]
    assert described["engine.threads"] == 1


@pytest.mark.slow
def test_side_by_side_gives_the_same_table(tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    """In Ray tasks; killed and started again."""
    arguments = [*(f"{name}={value}" for name, value in GRID.items()), "out=s", "--seeds", "2", "--workers", "2"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*FEDSAM, "sweep", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    assert any(": done, " in line for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    done = subprocess.run([*FEDSAM, "sweep", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "s") == undisturbed
    failed = subprocess.run(
        [*FEDSAM, "sweep", "client.lr=0.1,1e30", "rounds=3", "--workers", "2", "--seeds", "1", "out=f"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "error: 1 of 2 runs failed: client.lr=1e30, seed 0: " in failed.stderr
