"""Tuning without Ray: the searches, early stopping, and who may know what when."""

from __future__ import annotations

import json
import random
import re
import statistics
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from fedsam import InputError, Run, simulate
from fedsam.config import find, names
from fedsam.errors import Busy, Damaged
from fedsam.reports.tuning import write_tuning
from fedsam.runs.progress import Progress
from fedsam.storage.lock import locked
from fedsam.tuning import outputs
from fedsam.tuning.halving import Halving
from fedsam.tuning.ledger import Ledger, Report, Trial
from fedsam.tuning.result import Tuned
from fedsam.tuning.search.base import Outcome, Search
from fedsam.tuning.search.random import Random
from fedsam.tuning.search.tpe import Tpe
from fedsam.tuning.space import Range, Space, space_of
from fedsam.tuning.study import importance
from fedsam.tuning.trial import follow, write, written
from fedsam.tuning.tune import FIRST, Plan, Settings, _claim, _claimed, _require, default_out, tune
from tests.support.commands import failing
from tests.support.discovered import found

SPACE = {"client.name": "sgd,sam", "client.rho": "log:1e-3..1", "client.lr": "log:1e-3..0.3", "client.epochs": "1..4"}

SEARCH: Any = Search


def best_lr(curvature: float) -> float:
    """Gradient descent on ½ h x² multiplies x by 1 − lr h: gone in one step at lr = 1/h."""
    return 1 / curvature


def descent(lr: float, curvature: float, steps: int) -> float:
    """The accuracy of a toy client: 1/(1 + the loss after these steps from x = 1)."""
    x = 1.0
    for _ in range(steps):
        x -= lr * curvature * x
    return 1 / (1 + 0.5 * curvature * x * x)


def searched(search: Search, seed: int, trials: int, workers: int = 1, shuffle: int | None = None) -> list[Trial]:
    """A search for the best rate on the toy, with early stopping; trials at once end in any order."""
    space, curvature = space_of({"client.lr": "log:1e-3..1"}), 30.0
    ledger = Ledger(search.start(space, seed, trials), Halving(27, 3), trials, workers)
    order, going = random.Random(shuffle), list[Trial]()
    while True:
        while trial := ledger.begin():
            going.append(trial)
        if not going:
            return ledger.trials
        trial = going[0] if shuffle is None else order.choice(going)
        round = max(trial.reports, default=0) + 3
        accuracy = descent(trial.values["client.lr"], curvature, 1) * (1 - 0.5**round)
        if ledger.report(trial.number, Report(round, accuracy, 1 - accuracy, 0.1)) or round == 27:
            ledger.end(trial.number)
            going.remove(trial)


def test_tuning_finds_the_best_rate_of_a_quadratic(capsys: pytest.CaptureFixture[str]) -> None:
    """TPE against random search on equal budgets over ten seeds: who is nearer is printed."""
    misses: dict[str, list[float]] = {"tpe": [], "random": []}
    for seed in range(10):
        for name, search in {"tpe": Tpe(), "random": Random()}.items():
            trials = searched(search, seed, 25)
            best = max(trials, key=lambda trial: (trial.came.state == "done", trial.came.value))
            misses[name].append(abs(np.log10(best.values["client.lr"] / best_lr(30.0))))
    with capsys.disabled():
        shown = {name: " ".join(f"{miss:.3f}" for miss in found) for name, found in misses.items()}
        better = sum(t < r for t, r in zip(misses["tpe"], misses["random"], strict=True))
        print(f"\n|log10 lr/best|, 10 seeds, 25 trials: {shown}; TPE nearer with {better} of 10")
    assert statistics.median(misses["tpe"]) < 0.1  # 26 % of the rate, of three decades searched


@pytest.mark.parametrize("name", found(SEARCH, grid="tries every point in its order, whatever comes of it"))
@pytest.mark.parametrize("workers", [2, 3])
def test_timing_decides_nothing(name: str, workers: int) -> None:
    """Trials that end in another order are the same trials with the same outcomes."""
    search = find(SEARCH, name)()
    first, *others = (searched(search, 3, 20, workers, shuffle) for shuffle in (None, 0, 1, 2))
    for other in others:
        assert [(t.values, t.came) for t in other] == [(t.values, t.came) for t in first]
    assert {t.came.state for t in first} == {"done", "stopped"}
    assert len({t.values["client.lr"] for t in first}) == 20
    again = searched(search, 4, 20, workers)
    assert again[0].values != first[0].values


@pytest.mark.parametrize("name", names(SEARCH))
def test_every_search_stays_in_the_space_and_is_told_by_its_seed(name: str) -> None:
    space = space_of({"client.name": "sgd,sam", "client.rho": "log:1e-3..1/3", "client.epochs": "1..4/4"})
    search = find(SEARCH, name)()
    trials = search.trials(space, None)
    assert trials >= 2

    def tried() -> list[Any]:
        suggester, asked = search.start(space, 5, trials), []
        for number in range(trials):
            asked.append(suggester.ask())
            suggester.tell(Outcome("done", 3, number % 7 / 10, 1.0))
        return asked

    asked = tried()
    for values in asked:
        assert values["client.name"] in ("sgd", "sam")
        assert values["client.epochs"] in (1, 2, 3, 4)
        assert isinstance(values["client.epochs"], int)
        assert ("client.rho" in values) == (values["client.name"] == "sam")  # the others have no such key
        assert 1e-3 <= values.get("client.rho", 1.0) <= 1
    assert {values["client.name"] for values in asked} == {"sgd", "sam"}
    assert tried() == asked


def test_a_trial_waits_for_those_it_may_know_of() -> None:
    space = space_of({"client.lr": "0.1..1"})
    ledger = Ledger(Random().start(space, 0, 9), Halving(4, 1), 9, workers=2)
    assert [trial and trial.number for trial in (ledger.begin(), ledger.begin(), ledger.begin())] == [0, 1, None]
    for number in (1, 2, 3):  # 0 goes on and on
        ledger.report(number, Report(4, 0.5, 1.0, 0.0))
        ledger.end(number)
        trial = ledger.begin()
        assert (trial and trial.number) == (number + 1 if number < 3 else None)
    ledger.end(0)
    assert ledger.begin() is None  # it was only broken off
    ledger.report(0, Report(4, 0.5, 1.0, 0.0))
    ledger.end(0)
    assert [trial and trial.number for trial in (ledger.begin(), ledger.begin(), ledger.begin())] == [4, 5, None]


def test_halving_keeps_the_best_third() -> None:
    halving = Halving(rounds=27, grace=3)
    assert halving.rungs == [3, 9]
    assert not any(halving.stops(t, 3, 0.1 * t, range(t)) for t in range(1, 8))
    assert halving.stops(8, 4, 0.49, range(8))  # of 0.1 ... 0.7 the upper third begins at 0.5
    assert not halving.stops(9, 4, 0.51, range(1, 8))
    assert not halving.stops(8, 5, 0.0, range(8))  # it was seen there
    assert not halving.stops(10, 2, 0.0, range(8))  # before the first rung
    assert not halving.stops(11, 3, 0.0, range(0))  # nobody to compare with
    assert not halving.stops(7, 9, 0.0, range(7))  # nobody was at that rung yet
    assert halving.stops(6, 9, -0.1, range(8))
    assert not halving.stops(5, 27, -1.0, range(8))  # it is over anyway
    halving.failed(4, 0.0)
    assert halving.stops(3, 9, -0.2, [4])
    assert Halving(rounds=3, grace=3).rungs == []


def test_halving_is_ray_s_for_one_trial_at_a_time() -> None:
    """Ray Tune's own scheduler as the oracle: the same trials are stopped at the same rounds."""
    schedulers = pytest.importorskip("ray.tune.schedulers.async_hyperband")
    bracket = schedulers._Bracket(3, 27, 3, 0, stop_last_trials=False)
    halving, stopped = Halving(27, 3), 0
    rng = np.random.default_rng(0)
    for number in range(60):

        class One:
            trial_id = str(number)

        level = rng.random()
        for round in range(3, 27, 3):
            accuracy = level + 0.1 * rng.random()
            theirs = bracket.on_result(One, round, accuracy) == "STOP"
            assert halving.stops(number, round, accuracy, range(number)) == theirs
            if theirs:
                stopped += 1
                break
    assert 20 < stopped < 60


def test_a_failed_trial_is_the_worst() -> None:
    space = space_of({"client.lr": "0.1..1"})
    heard: list[int] = []
    ledger = Ledger(Tpe().start(space, 0, 3), Halving(3, 3), 3, 1, last=2, ended=lambda t: heard.append(t.number))
    assert ledger.best() is None
    for number in range(3):
        assert ledger.begin() is not None
        ledger.report(number, Report(1, 0.9, 9.0, 1.0))
        if number < 2:
            ledger.report(number, Report(2, 0.2 + 0.1 * number, 3.0, 1.0))
            ledger.report(number, Report(3, 0.4 + 0.1 * number, 1.0, 1.0))
        ledger.end(number, "loss is not finite" if number == 2 else "")
        ledger.end(number, "twice")
    assert [t.came.state for t in ledger.trials] == ["done", "done", "failed"]
    assert [t.came.value for t in ledger.trials] == pytest.approx([0.3, 0.4, 0.0])  # means of the last two rounds
    assert ledger.trials[0].came.loss == 2.0
    assert (ledger.trials[2].came.round, ledger.trials[2].came.loss) == (1, None)
    assert ledger.best() is ledger.trials[1]
    assert heard == [0, 1, 2]


def test_searches_are_found_and_grids_are_counted() -> None:
    assert set(names(Search)) >= {"grid", "random", "tpe"}
    space = space_of({"client.lr": "0.1,0.2", "client.epochs": "1..3/3"})
    grid = find(Search, "grid")()
    assert grid.trials(space, None) == grid.trials(space, 6) == 6
    with pytest.raises(InputError, match=r"trials = 5: the grid has 6 points"):
        grid.trials(space, 5)
    suggester = grid.start(space, 0, 6)
    found = [(p["client.lr"], p["client.epochs"]) for p in (suggester.ask() for _ in range(6))]
    assert found == [(lr, epochs) for lr in ("0.1", "0.2") for epochs in (1, 2, 3)]


def test_importance_names_what_decides() -> None:
    space = space_of({"client.lr": "0.1..1", "client.weight_decay": "0.1..1"})
    rng = np.random.default_rng(0)
    drawn = [{"client.lr": x, "client.weight_decay": y} for x, y in rng.uniform(0.1, 1, (60, 2))]
    shares = importance(space, [(values, 1 - (values["client.lr"] - 0.5) ** 2) for values in drawn])
    assert shares["client.lr"] > 0.7
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(space, [(values, 0.5) for values in drawn]) == {}
    assert importance(space, [(values, values["client.lr"]) for values in drawn[:3]]) == {}


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
        ({"keys": {"client.lr": "0.1..1", "engine.name": "ray"}}, r"engine\.name = ray: trials are processes"),
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
        _require(load)
    _require()


def test_the_command_refuses_in_one_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, err = failing(capsys, "tune", "client.lr=log:0..1", "--trials", "2")
    assert (status, err.count("\n")) == (2, 1)
    assert "there is no logarithm of 0" in err
    assert not (inside / "runs").exists()
