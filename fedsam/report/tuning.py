"""The report of a tuning: what was found, how accuracy depends on what was searched, and what early stopping saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fedsam.errors import RunError
from fedsam.report.figure import Axis, Figure
from fedsam.report.learning import results
from fedsam.report.marks import Bars, Mark, Points
from fedsam.report.numbers import spread
from fedsam.report.overview import environment, what_was_run
from fedsam.report.page import page
from fedsam.report.parallel import Parallel, Upright
from fedsam.report.read import load
from fedsam.report.section import Block, Section, Table, accuracy_axis, percent, plus_minus, significant
from fedsam.report.settings import group, plain
from fedsam.report.write import replace
from fedsam.tune.ledger import Trial
from fedsam.tune.result import Tuned
from fedsam.tune.space import Dimension, Range

COLOUR = {"done": "#0072B2", "stopped": "#E69F00", "failed": "#D55E00"}
SYMBOL = {"done": "circle", "stopped": "diamond", "failed": "x"}
WORDS = {"done": "ran to its end", "stopped": "stopped early", "failed": "failed"}
AXIS = accuracy_axis("validation")


def write_tuning(tuned: Tuned, out: Path) -> Path:
    """Write the report: an HTML file that loads nothing, with the runs of the best settings below the search.

    Raises:
        RunError: it cannot be written.
    """
    settings, _ = group(load([tuned.out / "best"]))
    sections = [_found(tuned), _parameters(tuned), _stopping(tuned), results(settings), what_was_run(settings)]
    about = environment(settings)
    sections += [about] if about else []
    keys = ", ".join(dimension.key for dimension in tuned.space.dimensions)
    outcomes = tuned.summary()
    lead = (
        f"{outcomes['trials']} trials of at most {tuned.rounds:,} rounds, compared on validation examples that no"
        f" client trains on; the best settings were then trained on all training examples with {len(tuned.accuracies)}"
        f" other seed{'s' * (len(tuned.accuracies) > 1)}, and tested once."
    )
    try:
        replace(out, page(f"Tuning of {keys}", lead, [], sections))
    except OSError as error:
        raise RunError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    return out


def _found(tuned: Tuned) -> Section:
    """The best settings, and all trials."""
    best, accuracies = tuned.best, list(tuned.accuracies.values())
    test = plus_minus(fmean(accuracies), spread(accuracies), len(accuracies) > 1)
    rows = [[key, plain(value)] for key, value in best.values.items()]
    rows += [[f"validation accuracy of trial {best.number} (%)", percent(best.came.accuracy)]]
    rows += [["test accuracy, trained anew (%)", test]]
    caption = "The best settings. The validation accuracy of a best trial is too high, since it was chosen by it; the"
    caption += " test accuracy is not."
    caption += " After ±: the sample standard deviation over seeds." if len(accuracies) > 1 else ""
    keys = [dimension.key for dimension in tuned.space.dimensions]
    header = ["trial", "", *keys, "accuracy (%)", "loss (nats)", "rounds", "seconds"]
    table = Table(
        "All trials, the best first; accuracy and loss on the validation examples.", header, _rows(tuned, keys)
    )
    return Section("found", "What was found", [Table(caption, ["", ""], rows), table])


def _rows(tuned: Tuned, keys: Sequence[str]) -> list[list[str]]:
    rows = []
    for trial in sorted(tuned.trials, key=_rank):
        outcome = trial.came
        own = [plain(trial.values[key]) if key in trial.values else "–" for key in keys]
        numbers = [percent(outcome.accuracy) if outcome.state != "failed" else "–", significant(outcome.loss)]
        state = outcome.error or WORDS[outcome.state]
        rows.append([str(trial.number), state, *own, *numbers, str(outcome.round), significant(outcome.seconds, 3)])
    return rows


def _rank(trial: Trial) -> tuple[Any, ...]:
    return list(WORDS).index(trial.came.state), -trial.came.accuracy, trial.number


def _parameters(tuned: Tuned) -> Section:
    """Accuracy against each parameter, all together, and how much each decides."""
    blocks: list[Block] = [_against(tuned, dimension) for dimension in tuned.space.dimensions]
    decisive = _importance(tuned)
    blocks.append(decisive or "Too few trials to say which parameter decides how much.")
    if len(tuned.space.dimensions) > 1:
        blocks += ["Each line below joins what one trial tried, and ends at its accuracy.", _parallel(tuned)]
    return Section("parameters", "Parameters", blocks)


def _by_state(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found = {state: [t for t in trials if t.came.state == state] for state in WORDS}
    return {state: those for state, those in found.items() if those}


def _against(tuned: Tuned, dimension: Dimension) -> Figure:
    """Accuracy against one parameter."""
    key, marks = dimension.key, list[Mark]()
    having = [trial for trial in tuned.trials if key in trial.values]
    for state, those in _by_state(having).items():
        texts = [f"trial {trial.number}, {trial.came.round} rounds" for trial in those]
        at = [trial.values[key] if isinstance(dimension, Range) else plain(trial.values[key]) for trial in those]
        heights = [trial.came.accuracy for trial in those]
        marks.append(Points(at, heights, WORDS[state], COLOUR[state], texts, SYMBOL[state]))
    log = isinstance(dimension, Range) and dimension.log
    places = () if isinstance(dimension, Range) else tuple(plain(value) for value in dimension.values)
    whole = isinstance(dimension, Range) and dimension.whole
    caption = f"Accuracy on the validation examples at the last recorded round of each trial, against {key}."
    caption += " A trial that failed counts as 0." if any(t.came.error for t in having) else ""
    axis = Axis(key, log=log, places=places, whole=whole)
    return Figure(f"against-{key.replace('.', '-').replace('_', '-')}", key, caption, axis, AXIS, marks)


def _parallel(tuned: Tuned) -> Figure:
    shown = [trial for trial in tuned.trials if trial.came.state != "failed"]
    axes = []
    for dimension in tuned.space.dimensions:
        own = [trial.values.get(dimension.key) for trial in shown]
        if isinstance(dimension, Range):
            axes.append(Upright(dimension.key, own, log=dimension.log, whole=dimension.whole))
        else:
            names = [plain(value) for value in dimension.values]
            at = [None if value is None else names.index(plain(value)) for value in own]
            axes.append(Upright(dimension.key, at, names))
    axes.append(Upright("accuracy", percent=True, values=[trial.came.accuracy for trial in shown]))
    caption = (
        "A line for each trial that did not fail, coloured by its validation accuracy. Where a trial does not have a"
        " parameter, its line has a gap."
    )
    places, upright = Axis("", places=[axis.label for axis in axes]), Axis("", ends=(-0.04, 1.08), hidden=True)
    return Figure("parallel", "All parameters together", caption, places, upright, [Parallel(axes)])


def _importance(tuned: Tuned) -> Figure | None:
    from fedsam.tune.study import importance

    tried = [(t.values, t.came.accuracy) for t in tuned.trials if t.came.state != "failed"]
    shares = importance(tuned.space, tried)
    if not shares:
        return None
    names = list(reversed(shares))
    bars = Bars(names, [shares[name] for name in names], "importance", COLOUR["done"], flat=True)
    caption = (
        "How much each parameter decides whether a trial is among the best tenth (PED-ANOVA, Watanabe et al. 2023); the"
        f" shares add up to 100 %. From {len(tried)} trials, those that were stopped early at their last accuracy;"
        " of few trials it is a hint at most."
    )
    tall = 130 + 34 * len(names)
    axis = Axis("share of the importance", percent=True)
    return Figure("importance", "Importance", caption, axis, Axis("", places=names), [bars], tall=tall)


def _stopping(tuned: Tuned) -> Section:
    """The rounds that each trial was given."""
    found = tuned.summary()
    numbers = [trial.number for trial in tuned.trials]
    marks: list[Mark] = []
    for state, those in _by_state(tuned.trials).items():
        own = {trial.number: float(trial.came.round) for trial in those}
        marks.append(Bars(numbers, [own.get(number, 0.0) for number in numbers], WORDS[state], COLOUR[state]))
    run, whole = found["rounds_run"], found["rounds_without_stopping"]
    caption = (
        f"Rounds of each trial. Together {run:,} of the {whole:,} that all trials would have had to their end:"
        f" {(whole - run) / whole:.0%} saved."
    )
    axes = Axis("trial", whole=True), Axis("rounds", whole=True)
    figure = Figure("stopping", "Rounds by trial", caption, *axes, marks)
    return Section("stopping", "What early stopping saved", [figure])
