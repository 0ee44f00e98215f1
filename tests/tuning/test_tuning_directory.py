"""What a tuning refuses, writes to its directory, and takes up again there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from fedsam import InputError, Run, simulate
from fedsam.errors import Busy, Damaged
from fedsam.reports.tuning import write_tuning
from fedsam.runs.progress import Progress
from fedsam.storage.lock import locked
from fedsam.tuning import outputs
from fedsam.tuning.halving import Halving
from fedsam.tuning.ledger import Ledger, Report, Trial
from fedsam.tuning.result import Tuned
from fedsam.tuning.search.random import Random
from fedsam.tuning.space import Range, Space
from fedsam.tuning.trial import follow, write, written
from fedsam.tuning.tune import FIRST, Plan, Settings, _claim, _claimed, _require, default_out, tune
from tests.support.commands import failing
from tests.support.tunings import SPACE

PLAN = Settings({**SPACE, "data.clients": "10", "cohort": "2", "evaluate_every": "2"}, rounds=6, trials=5, seeds=2)


def test_runs_share_neither_directory_nor_seed(tmp_path: Path) -> None:
    plan = Plan(PLAN)
    values = {"client.name": "sam", "client.rho": 0.1, "client.lr": 0.1, "client.epochs": 2}
    trial = plan.trial(values, tmp_path / "trials" / "0000")
    finals = [plan.final(values, number, tmp_path) for number in range(2)]
    assert (trial.seed, trial.data.validation, trial.evaluate_every, trial.checkpoint_every) == (0, 0.2, 2, 2)
    assert [run.seed for run in finals] == [FIRST, FIRST + 1]
    assert {(run.data.validation, run.evaluate_every, run.rounds) for run in finals} == {(0.0, 6, 6)}
    assert len({run.out for run in (trial, *finals)}) == 3
    assert Plan(Settings({"client.lr": "0.1..1"}, rounds=50)).every == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": {"client.lr": "0.1..1", "data.validation": "0"}}, r"data\.validation = 0: tuning needs examples"),
        ({"keys": {"client.lr": "0.1..1", "engine.name": "ray"}}, r"engine\.name = ray: the processes of a tuning"),
        ({"grace": 7}, r"grace = 7: must be at most rounds = 6"),
        ({"search": "tpee"}, r"name = tpee: no such search; did you mean 'tpe'"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Plan(Settings(**{**vars(PLAN), **change}))


def test_another_tuning_s_directory_is_refused(tmp_path: Path) -> None:
    plan, other = Plan(PLAN), Plan(Settings(**{**vars(PLAN), "trials": 6}))
    out = tmp_path / "t"
    assert _claimed(out, plan) is None
    _claim(out, plan, 4)
    assert _claimed(out, plan) == 4
    with pytest.raises(InputError, match=r"holds another tuning, with other values of trials; choose another out"):
        _claimed(out, other)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "x").touch()
    with pytest.raises(InputError, match=r"exists already, and is no tuning"):
        _claimed(tmp_path / "else", plan)
    assert default_out(plan) == default_out(Plan(PLAN)) != default_out(other)


def test_a_tuning_that_goes_on_or_is_damaged_is_refused(tmp_path: Path) -> None:
    plan, out = Plan(PLAN), tmp_path / "t"
    with locked(out), pytest.raises(Busy, match=r"t is in use by process \d+ on .*; wait until it has ended"):
        tune(PLAN, out, Progress(quiet=True))
    assert not out.exists()
    out.mkdir()
    (out / ".tune.json.writing").touch()  # left by one that was killed
    assert _claimed(out, plan) is None
    _claim(out, plan, 4)
    for content in (
        "",
        "[]",
        '{"arguments": null, "at_once": 2}',
        '{"arguments": {"keys": []}, "at_once": 2}',
        "[" * 9**6,
    ):
        (out / "tune.json").write_text(content)
        with pytest.raises(Damaged, match=r"tune\.json cannot be read \(.*\); choose another out"):
            _claimed(out, plan)
    trial = tmp_path / "0000"
    trial.mkdir()
    for content in (
        "",
        "{}",
        '{"state": "over", "round": 1, "error": ""}',
        '{"state": "done", "round": null, "error": ""}',
    ):
        (trial / "trial.json").write_text(content)
        with pytest.raises(Damaged, match=r"trial\.json cannot be read \(.*\); remove it"):
            written(trial)


def test_damaged_records_of_a_trial_are_refused(tmp_path: Path) -> None:
    run = Plan(PLAN).trial({"client.name": "sgd", "client.lr": 0.1, "client.epochs": 1}, tmp_path / "0000")
    follow(run, lambda report: None)
    file = tmp_path / "0000" / "metrics.jsonl"
    file.write_text(file.read_text().replace('"round": 4', '"round": 5'))
    with pytest.raises(Damaged, match=r"0000: .*metrics\.jsonl.*; restore it from a copy"):
        follow(run, lambda report: None)


class _Ends(SystemExit):
    """As Ray ends a trial."""


def test_a_trial_that_was_left_is_taken_up(tmp_path: Path) -> None:
    """Ended after round 4, whose checkpoint is not there yet: the reports are those of a whole trial."""
    run = Plan(PLAN).trial({"client.name": "sgd", "client.lr": 0.1, "client.epochs": 1}, tmp_path / "0000")
    whole: list[Report] = []
    assert follow(run.replace(out=str(tmp_path / "whole")), whole.append) == ""
    assert [report.round for report in whole] == [2, 4, 6]
    heard: list[Report] = []

    def ends_at(round: int) -> Any:
        def tell(report: Report) -> None:
            heard.append(report)
            if report.round == round:
                raise _Ends

        return tell

    with pytest.raises(_Ends):
        follow(run, ends_at(4))
    recorded = (tmp_path / "0000" / "metrics.jsonl").read_text()
    heard.clear()
    with pytest.raises(_Ends):  # what was written down is not trained again
        follow(run, ends_at(4), {"state": "stopped", "round": 4, "error": ""})
    assert [report.round for report in heard] == [2, 4]
    assert (tmp_path / "0000" / "metrics.jsonl").read_text() == recorded
    heard.clear()
    assert follow(run, heard.append) == ""
    assert [(r.round, r.value, r.loss) for r in heard] == [(r.round, r.value, r.loss) for r in whole]
    again: list[Report] = []
    follow(run, again.append)
    assert again == heard


def test_a_trial_that_diverges_says_so_and_is_not_repeated(tmp_path: Path) -> None:
    run = Run.from_keys({"client.lr": 1e30, "rounds": 2, "data.validation": 0.2, "out": str(tmp_path / "0003")})
    error = follow(run, lambda report: None)
    assert re.search(r"not finite.*lower client\.lr", error)
    trial = Trial(3, {"client.lr": 1e30})
    ledger = Ledger(Random().start(Space({}, (Range("client.lr", 0.1, 1),)), 0, 1), Halving(2, 1), 1, 1)
    ledger.begin()
    ledger.end(0, error)
    trial.outcome = ledger.trials[0].came
    write(trial, tmp_path / "0003")
    ended = written(tmp_path / "0003")
    assert ended is not None
    assert (ended["trial"], ended["state"], ended["values"]) == (3, "failed", {"client.lr": 1e30})
    (tmp_path / "0003" / "run.json").unlink()
    assert follow(run, lambda report: None, ended) == error


def test_what_is_left_for_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(PLAN)
    ledger = Ledger(plan.search.start(plan.space, 0, 5), Halving(6, 1), 5, 1)
    while trial := ledger.begin():
        ledger.report(trial.number, Report(6, 0.5 + 0.01 * trial.number, 1.0, 2.0))
        ledger.end(trial.number, "<b>not finite</b>" if trial.number == 1 else "")
    best = ledger.best()
    assert best is ledger.trials[4]
    outputs.write_trials(ledger.trials, plan.space, plan.score, tmp_path)
    outputs.write_best(plan.chosen(best.values), best, tmp_path)
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,client.name,client.rho,client.lr,client.epochs,rounds,accuracy,loss,state,seconds,error"
    assert len(lines) == 6
    assert lines[2].endswith(",6,0.0,,failed,2.0,<b>not finite</b>")
    keys = tomllib.loads((tmp_path / "best.toml").read_text())
    assert keys["client"]["lr"] == best.values["client.lr"]
    assert keys["cohort"] == 2
    from fedsam.cli.settings import parse

    own = Run.from_keys(parse([str(tmp_path / "best.toml")]))
    assert own == Run.from_keys(plan.chosen(best.values))
    finals = [plan.final(best.values, number, tmp_path / "best") for number in range(2)]
    accuracies = {run.seed: simulate(run).metrics[-1]["test_accuracy"] for run in finals}
    assert all(len((Path(str(run.out)) / "metrics.jsonl").read_text().splitlines()) == 1 for run in finals)
    tuned = Tuned(plan.space, ledger.trials, best, 6, accuracies, plan.score, tmp_path)
    page = write_tuning(tuned, tmp_path / "report.html").read_text()
    for said in (
        "figure-parallel",
        "figure-importance",
        "figure-against-client-lr",
        "the best first",
        "0% saved",
    ):
        assert said in page
    assert "<b>not finite" not in page
    summary = tuned.summary()
    assert json.loads(json.dumps(summary))["rounds_run"] == 30
    assert (summary["done"], summary["stopped"], summary["failed"]) == (4, 0, 1)


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    with pytest.raises(InputError, match=r"tuning needs optuna, .*; pip install 'fedsam\[tune\]'"):
        _require(("optuna", "ray.tune"), load)
    _require(("optuna", "ray.tune"))


def test_the_command_refuses_in_one_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, err = failing(capsys, "tune", "client.lr=log:0..1", "--trials", "2")
    assert (status, err.count("\n")) == (2, 1)
    assert "there is no logarithm of 0" in err
    assert not (inside / "runs").exists()
