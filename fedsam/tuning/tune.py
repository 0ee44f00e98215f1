"""`fedsam tune`: search on validation examples, train the best settings anew, and test these once."""

from __future__ import annotations

import importlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedsam.border.budget import must_be_few
from fedsam.config import find
from fedsam.errors import InputError, RunError
from fedsam.measure.names import value_of
from fedsam.reports.tuning import write_tuning
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.storage.files import damaged, leftovers, on_disk, read_object, replace_file
from fedsam.storage.lock import FILE as LOCK
from fedsam.storage.lock import locked
from fedsam.sweeps.sweep import records_of
from fedsam.tuning import outputs
from fedsam.tuning.halving import Halving
from fedsam.tuning.in_turn import InTurn
from fedsam.tuning.ledger import Ledger, Trial
from fedsam.tuning.result import Tuned
from fedsam.tuning.search.base import Search
from fedsam.tuning.space import Values, space_of
from fedsam.tuning.trial import write
from fedsam.tuning.workers import Workers

FORMAT = 1
FILE = "tune.json"
SHARE = 0.2  # of the training examples that are held out, if data.validation is not given
FIRST = 1000  # above the seed of the search: the first seed with which the best settings are trained anew


@dataclass(frozen=True)
class Settings:
    """What is asked for; the same settings give the same trials.

    Args:
        keys: of the runs, some with a range or several values; see `fedsam.tuning.space`.
        search: `tpe`, `random`, `grid`, or a `package.module:Class`.
        trials: how many; None = as many as the search thinks right, for a grid all its points.
        rounds: of a trial; None = as `rounds` among the keys, or its default.
        seeds: with how many the best settings are trained anew.
        workers: trials at a time; 1 = in this process, more by Ray Tune in processes of their own, 0 = one for each
            GPU, or core.
        grace: rounds before a trial can be stopped; None = a tenth of all.
    """

    keys: Mapping[str, Any]
    search: str = "tpe"
    trials: int | None = None
    rounds: int | None = None
    seeds: int = 3
    workers: int = 1
    grace: int | None = None


class Plan:
    """Settings, checked and completed.

    Args:
        settings: as given.

    Raises:
        InputError: they make no sense.
    """

    def __init__(self, settings: Settings) -> None:
        keys = dict(settings.keys)
        if settings.rounds is not None:
            keys["rounds"] = settings.rounds
        keys = {"data.validation": SHARE, "engine.threads": 1, **keys}
        keys.pop("out", None)
        _needs_validation(keys)
        self.settings, self.space = settings, space_of(keys)
        base = Run.from_keys(self.space.keys(next(self.space.combinations([d.ends() for d in self.space.dimensions]))))
        if base.engine.name in ("ray", "flower"):
            allowed = "the processes of a tuning are its trials'; leave it out, and set --workers"
            raise InputError("engine.name", base.engine.name, allowed)
        self.score = base.learnt.score
        self.seed, self.rounds, self.last = base.seed, base.rounds, base.evaluate_last
        self.grace = settings.grace or max(1, self.rounds // 10)
        if self.grace > self.rounds:
            raise InputError("grace", self.grace, f"must be at most rounds = {self.rounds}")
        self.every = base.evaluate_every if "evaluate_every" in keys else self.grace
        self.search = find(Search, settings.search)()
        self.trials = self.search.trials(self.space, settings.trials)
        must_be_few("trials", self.trials, self.trials, "trials")
        must_be_few("seeds", settings.seeds, settings.seeds, "runs")

    def arguments(self) -> dict[str, Any]:
        """What decides the trials, as plain JSON types."""
        own = {name: value for name, value in vars(self.settings).items() if name != "keys"}
        return {**own, "keys": {key: value for key, value in self.settings.keys.items() if key != "out"}}

    def trial(self, values: Values, out: Path) -> Run:
        """The run of a trial."""
        keys = {**self.space.keys(values), "evaluate_every": self.every, "checkpoint_every": self.every}
        return Run.from_keys({**keys, "out": str(out)})

    def chosen(self, values: Values) -> Values:
        """The keys of a run with these values that is not for tuning."""
        return {key: value for key, value in self.space.keys(values).items() if key != "data.validation"}

    def final(self, values: Values, number: int, out: Path) -> Run:
        """The best settings with a seed that no trial has, on all training examples, evaluated in the last round."""
        seed = self.seed + FIRST + number
        keys = {**self.chosen(values), "seed": seed, "evaluate_every": self.rounds, "evaluate_last": 1}
        keys |= {"geometry.every": 0} if "geometry.every" in keys else {}
        return Run.from_keys({**keys, "out": str(out / f"seed{seed}")})


def tune(
    settings: Settings,
    out: Path | None,
    progress: Progress,
    stop: threading.Event | None = None,
    address: str | None = None,
) -> Tuned:
    """Tune; begun anew in the same directory with the same settings, it goes on where it was.

    Args:
        settings: what is asked for.
        out: the directory; None = the same under runs/ for the same settings.
        progress: is told how far it is.
        stop: once set, trials are stopped, their checkpoints kept, and `Interrupted` is raised.
        address: of a Ray cluster to join, whose machines share the directory.

    Raises:
        InputError: the settings make no sense, or the directory is another tuning's.
        Busy: another process is at work in the directory.
        RunError: every trial failed, or something went wrong with one other than that it diverged.
        Interrupted: `stop` was set.
    """
    alone = settings.workers == 1 and address is None
    _require(("optuna",) if alone else ("optuna", "ray.tune"))
    plan = Plan(settings)
    place = (out or default_out(plan)).absolute()
    _claimed(place, plan)
    with locked(place):
        with InTurn(progress, stop) if alone else _on_ray(settings.workers, address, stop) as workers:
            ledger, best, finals = _searched(plan, place, progress, workers)
        tested = {run.seed: _tested(run) for run in finals}
        tuned = Tuned(plan.space, ledger.trials, best, plan.rounds, tested, plan.score, place)
        write_tuning(tuned, place / "report.html")
    return tuned


def _on_ray(workers: int, address: str | None, stop: threading.Event | None) -> Workers:
    from fedsam.tuning.drive import OnRay

    return OnRay(workers, address, stop)


def _searched(plan: Plan, place: Path, progress: Progress, workers: Workers) -> tuple[Ledger, Trial, list[Run]]:
    """The trials, the best of them, and the runs in which its settings have been trained anew."""
    at_once = _claimed(place, plan) or workers.at_once
    _claim(place, plan, at_once)
    shown = _Shown(progress, plan, place)
    halving = Halving(plan.rounds, plan.grace)
    suggester = plan.search.start(plan.space, plan.seed, plan.trials)
    ledger = Ledger(suggester, halving, plan.trials, at_once, plan.last, shown.ended, plan.score)
    workers.drive(ledger, lambda trial: plan.trial(trial.values, shown.path(trial)), plan.space.said())
    outputs.write_trials(ledger.trials, plan.space, plan.score, place)
    best = ledger.best()
    if best is None:
        errors = [trial.came.error for trial in ledger.trials]
        raise RunError(f"no trial ran to its end: {errors[0]}; what they tried is in {place / 'trials.csv'}")
    outputs.write_best(plan.chosen(best.values), best, place)
    finals = [plan.final(best.values, number, place / "best") for number in range(plan.settings.seeds)]
    _train_anew(finals, workers, shown)
    return ledger, best, finals


class _Shown:
    """Says how far it is, and writes down each trial that has ended."""

    def __init__(self, progress: Progress, plan: Plan, out: Path) -> None:
        self.progress, self.plan, self.out = progress, plan, out
        self.done = 0
        progress.plan(plan.rounds * (plan.trials + plan.settings.seeds))

    def path(self, trial: Trial) -> Path:
        """The run directory of a trial."""
        return self.out / "trials" / f"{trial.number:04d}"

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""
        write(trial, self.path(trial))
        reached = f"validation {self.plan.score.words} {self.plan.score.text(trial.came.value)}"
        said = {"done": reached, "stopped": f"{reached}, stopped after round {trial.came.round}"}
        self.step(f"trial {trial.number}: {said.get(trial.came.state, trial.came.error)}")

    def step(self, label: str) -> None:
        """As many rounds as a run has are behind."""
        self.done += self.plan.rounds
        self.progress.ended(label, self.done)


def _train_anew(runs: list[Run], workers: Workers, shown: _Shown) -> None:
    failures = []

    def ended(place: int, failed: list[str | None]) -> None:
        label, what = f"best settings, seed {runs[place].seed}", failed[0]
        shown.step(f"{label}: {what or 'done'}")
        if what:
            failures.append(f"{label}: {what}")

    workers.train(runs, ended)
    if failures:
        raise RunError(f"the best settings could not be trained anew: {failures[0]}; the trials are in {shown.out}")


def _tested(run: Run) -> float:
    records = records_of(run)
    if not records:
        raise RunError(f"the best settings, seed {run.seed}, did not come to their end; give the same command again")
    return float(value_of(records[-1]))


def default_out(plan: Plan) -> Path:
    """Where a tuning lies that is given no `out`: the same for the same settings."""
    text = json.dumps(plan.arguments(), sort_keys=True)
    return Path("runs") / f"tune-{sha256(text.encode()).hexdigest()[:10]}"


def _claimed(out: Path, plan: Plan) -> int | None:
    """How many trials go on at once in the tuning that is there; None if there is none yet.

    Raises:
        InputError: another tuning is there, or something else.
    """
    file = out / FILE
    if not file.exists():
        begun = re.compile(f"{re.escape(LOCK)}|{leftovers([re.escape(FILE)])}")
        if out.exists() and not out.is_dir():
            raise InputError("out", str(out), "is a file; choose another out")
        if out.exists() and any(not begun.fullmatch(child.name) for child in out.iterdir()):
            raise InputError(
                "out", str(out), f"exists already, and is no tuning (it has no {FILE}); choose another out"
            )
        return None
    found = read_object(file, "choose another out")
    arguments, at_once = found.get("arguments"), found.get("at_once")
    if not isinstance(arguments, dict) or not isinstance(arguments.get("keys"), dict) or type(at_once) is not int:
        raise damaged(file, "it describes no tuning", "choose another out")
    own = json.loads(json.dumps(plan.arguments()))
    if arguments != own:
        old, new = ({**each, **each["keys"]} for each in (arguments, own))
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name) and name != "keys"]
        raise InputError(
            "out", str(out), f"holds another tuning, with other values of {', '.join(names[:3])}; choose another out"
        )
    return at_once


def _claim(out: Path, plan: Plan, at_once: int) -> None:
    content = {"format": FORMAT, "arguments": plan.arguments(), "at_once": at_once}
    with on_disk(out / FILE):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / FILE, (json.dumps(content, indent=2) + "\n").encode())


def _needs_validation(keys: Mapping[str, Any]) -> None:
    try:
        nothing = float(keys["data.validation"]) == 0
    except (TypeError, ValueError):
        return  # the run will say what is wrong
    if nothing:
        allowed = "tuning needs examples to choose by that are not the test set's; leave it out, or set 0.2"
        raise InputError("data.validation", keys["data.validation"], allowed)


def _require(needed: Sequence[str], load: Callable[[str], object] = importlib.import_module) -> None:
    """Say what is missing.

    Raises:
        InputError: Ray Tune or Optuna cannot be imported.
    """
    import warnings

    for name in needed:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(name)
        except ImportError as error:
            allowed = f"tuning needs {name}, which cannot be imported ({error}); pip install 'fedsam[tune]'"
            raise InputError("", InputError.ABSENT, " ".join(allowed.split())) from None
