"""Run directories for the report: what can be read, and one clear line for what cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, Run, RunError
from fedsam.reports.read import gather, load
from fedsam.reports.settings import group
from fedsam.reports.write import write_report
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from tests.support.report_runs import figures, records, table, write_run


def cut(file: Path) -> None:
    file.write_text(file.read_text()[: len(file.read_text()) // 2])


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda run: cut(run / "run.json"), "run.json cannot be read"),
    "list": (lambda run: (run / "run.json").write_text("[]"), "run.json cannot be read"),
    "format": (
        lambda run: change(run / "run.json", format=2),
        "run.json has format 2, this version of fedsam reads format 1",
    ),
    "unversioned": (lambda run: (run / "run.json").write_text("{}"), "run.json has format None"),
    "no keys": (lambda run: change(run / "run.json", keys=3), "run.json describes no run"),
    "no metrics": (lambda run: (run / "metrics.jsonl").unlink(), "has no recorded round yet; wait for its first"),
    "nothing recorded": (lambda run: (run / "metrics.jsonl").write_text('{"round": 1'), "has no recorded round yet"),
    "line": (lambda run: (run / "metrics.jsonl").write_text('{"round": 1\n{}\n{}\n'), "line 1 of metrics.jsonl"),
    "no run.json": (lambda run: (run / "run.json").unlink(), "has metrics.jsonl but no run.json"),
    "geometry": (lambda run: (run / "geometry.json").write_text("{"), "geometry.json cannot be read"),
    "new geometry": (lambda run: (run / "geometry.json").write_text('{"format": 7}'), "geometry.json has format 7"),
    "clients": (lambda run: (run / "clients.json").write_text("3"), "clients.json cannot be read"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, how: str) -> None:
    run = write_run(tmp_path / "run", {}, records(40, 0))
    damage, said = BROKEN[how]
    damage(run)
    with pytest.raises(InputError) as caught:
        load([run])
    assert caught.value.key == str(run)
    assert str(caught.value).startswith(f"{run}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert re.search(r"; (?:it was cut short or damaged; )?(start|restore|use|wait|write)", str(caught.value))
    with pytest.raises(InputError):
        write_report([run], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_what_is_no_run_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "photographs").mkdir(parents=True)
    (tmp_path / "file").touch()
    expected = {
        "empty": "is empty; start a run in it with fedsam run out=",
        "other": "is not a run: there is no run.json in it nor in a directory in it; give a run directory",
        "file": "is a file; give the run directory that it lies in",
        "missing": "there is nothing there; give a run directory, or a directory of run directories",
    }
    for name, said in expected.items():
        with pytest.raises(InputError, match=f"^{re.escape(f'{tmp_path / name}: {said}')}") as caught:
            load([tmp_path / name])
        assert caught.value.key == str(tmp_path / name)
    with pytest.raises(InputError, match="at least one run directory"):
        load([])


def test_a_line_cut_short_at_the_end_is_a_run_going_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, records(40, 0))
    cut_at = (run / "metrics.jsonl").read_text().rindex('"test_loss"')
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:cut_at])
    (loaded,) = load([run])
    assert loaded.metrics == records(40, 0)[:-1]
    assert (loaded.recorded, loaded.finished) == (35, False)


def test_runs_in_a_directory_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    good = write_run(home / "good", {}, records(40, 0))
    bad = write_run(home / "bad", {}, [])
    (home / "notes").mkdir()
    runs, left_out = gather([home])
    assert [run.path for run in runs] == [good]
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{bad}: has no recorded round")
    html = write_report([home], tmp_path / "r.html").read_text()
    assert f"Left out: {bad}: has no recorded round" in html
    (good / "run.json").unlink()
    with pytest.raises(InputError, match=f"^{re.escape(str(bad))}: has no recorded round"):
        load([home])


def test_a_run_given_twice_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "runs" / "a", {}, records(40, 0))
    monkeypatch.chdir(run)
    runs = load([tmp_path / "runs", run, Path()])
    assert [r.path for r in runs] == [run]
    (alone,) = load([Path()])
    assert alone.name == "a"


def test_a_file_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, records(40, 0))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(RunError, match=r"^cannot write .*taken"):
        write_report([run], tmp_path / "taken")
    assert not list(tmp_path.glob(".*"))


def test_a_real_comparison_has_its_own_names(tmp_path: Path) -> None:
    """Written by `fedsam compare`'s own function; with a setting whose name is no file name."""
    common = {"rounds": 4, "evaluate_every": 1, "data.clients": 8, "cohort": 2, "out": str(tmp_path / "compared")}
    named = {
        "Plain: FedAvg (a/b)": {},
        "FedSAM + SWA": {"client.name": "sam", "average.name": "swa", "average.cycle": 1},
    }
    described = {name: Run.from_keys(common | own) for name, own in named.items()}
    compared = compare(described, 2, Progress(quiet=True))
    runs = load([compared.out])
    settings, _ = group(runs)
    assert [setting.name for setting in settings] == list(named)
    for setting in settings:
        for seed, run in setting.runs.items():
            assert run.metrics == compared.metrics[setting.name][seed]
    html = write_report([compared.out], tmp_path / "r.html").read_text()
    drawn = {trace["name"]: trace for trace in figures(html)["accuracy"]["data"]}
    for name in named:
        for seed in (0, 1):
            own = compared.metrics[name][seed]
            assert drawn[f"{name}, seed {seed}"]["x"] == [record["round"] for record in own]
            assert drawn[f"{name}, seed {seed}"]["y"] == [record["test_accuracy"] for record in own]
    rows = {row["setting"]: row for row in compared.rows()}
    for name, seeds, accuracy, *_ in table(html, "setting", "seeds", "accuracy (%)"):
        assert seeds == "2"
        assert accuracy == f"{100 * rows[name]['mean']:.2f} ± {100 * rows[name]['std']:.2f}"
    (alone,) = load([compared.out / "fedsam-swa-seed1"])
    assert alone.setting == "FedSAM + SWA"
