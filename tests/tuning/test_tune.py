"""Tuning without Ray: the searches, early stopping, and who may know what when."""

from __future__ import annotations

import random
import statistics
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from fedsam import InputError
from fedsam.config import find, names
from fedsam.tuning.halving import Halving
from fedsam.tuning.ledger import Ledger, Report, Trial
from fedsam.tuning.search.base import Outcome, Search
from fedsam.tuning.search.random import Random
from fedsam.tuning.search.tpe import Tpe
from fedsam.tuning.space import space_of
from fedsam.tuning.study import importance
from tests.support.discovered import found

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
