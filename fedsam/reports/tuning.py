"""The report of a tuning: what was found, how accuracy depends on what was searched, and what early stopping saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsam.errors import RunError
from fedsam.measure.score import Score, in_unit
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.learning import results
from fedsam.reports.marks import Bars, Mark, Points
from fedsam.reports.numbers import number
from fedsam.reports.overview import environment, what_was_run
from fedsam.reports.page import page
from fedsam.reports.parallel import Parallel, Upright
from fedsam.reports.read import load
from fedsam.reports.section import Block, Section, Table, identity, loss_of, over, score_axis, significant
from fedsam.reports.settings import group
from fedsam.reports.words import plain
from fedsam.reports.write import library_of, replace
from fedsam.tuning.ledger import Trial
from fedsam.tuning.result import Tuned
from fedsam.tuning.space import Dimension, Range

COLOUR = {"done": "#0072B2", "stopped": "#E69F00", "failed": "#D55E00"}
SYMBOL = {"done": "circle", "stopped": "diamond", "failed": "x"}
WORDS = {"done": "ran to its end", "stopped": "stopped early", "failed": "failed"}


def write_tuning(tuned: Tuned, out: Path) -> Path:
    """Write the report: an HTML file that loads nothing, with the runs of the best settings below the search.

    Raises:
        RunError: it cannot be written.
    """
    settings, _ = group(load([tuned.out / "best"]))
    sections = [_found(tuned, loss_of(settings)), _parameters(tuned), _stopping(tuned)]
    sections += [results(settings), what_was_run(settings)]
    about = environment(settings)
    sections += [about] if about else []
    keys = ", ".join(dimension.key for dimension in tuned.space.dimensions)
    outcomes = tuned.summary()
    lead = (
        f"{outcomes['trials']} trials of at most {tuned.rounds:,} rounds, compared on validation examples that no"
        f" client trains on; the best settings were then trained on all training examples with {len(tuned.tested)}"
        f" other seed{'s' * (len(tuned.tested) > 1)}, and tested once."
    )
    try:
        replace(out, page(f"Tuning of {keys}", lead, [], sections, library_of(out)))
    except OSError as error:
        raise RunError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    return out


def _found(tuned: Tuned, loss: Score) -> Section:
    """The best settings, and all trials."""
    best, tested, score = tuned.best, list(tuned.tested.values()), tuned.score
    rows = [[key, plain(value)] for key, value in best.values.items()]
    chosen = in_unit(f"validation {score.words} of trial {best.number}", score.mark)
    rows += [[chosen, score.cell(best.came.value)]]
    rows += [[in_unit(f"test {score.words}, trained anew", score.mark), over(tested, score)]]
    too = "high" if score.better == "higher" else "low"
    caption = f"The best settings. The validation {score.words} of a best trial is too {too}, since it was chosen by"
    caption += f" it; the test {score.words} is not."
    caption += " After ±: the sample standard deviation over seeds." if len(tested) > 1 else ""
    keys = [dimension.key for dimension in tuned.space.dimensions]
    header = ["trial", "", *keys, score.label(), loss.label(), "rounds", "seconds"]
    about = f"All trials, the best first; {score.words} and loss on the validation examples."
    table = Table(about, header, _rows(tuned, keys))
    return Section("found", "What was found", [Table(caption, ["", ""], rows), table])


def _rows(tuned: Tuned, keys: Sequence[str]) -> list[list[str]]:
    rows = []
    for trial in sorted(tuned.trials, key=_rank):
        outcome = trial.came
        own = [plain(trial.values[key]) if key in trial.values else "–" for key in keys]
        reached = outcome.value if outcome.state != "failed" else None
        numbers = [tuned.score.cell(reached), significant(outcome.loss)]
        state = outcome.error or WORDS[outcome.state]
        rows.append([str(trial.number), state, *own, *numbers, str(outcome.round), significant(outcome.seconds, 3)])
    return rows


def _rank(trial: Trial) -> tuple[Any, ...]:
    return list(WORDS).index(trial.came.state), -trial.came.merit, trial.number


def _parameters(tuned: Tuned) -> Section:
    """The metric against each parameter, all together, and how much each decides."""
    blocks: list[Block] = [_against(tuned, dimension) for dimension in tuned.space.dimensions]
    decisive = _importance(tuned)
    blocks.append(decisive or "Too few trials to say which parameter decides how much.")
    if len(tuned.space.dimensions) > 1:
        words = tuned.score.words
        blocks += [f"Each line below joins what one trial tried, and ends at its {words}.", _parallel(tuned)]
    return Section("parameters", "Parameters", blocks)


def _by_state(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found = {state: [t for t in trials if t.came.state == state] for state in WORDS}
    return {state: those for state, those in found.items() if those}


def _against(tuned: Tuned, dimension: Dimension) -> Figure:
    """The metric against one parameter."""
    key, score, marks = dimension.key, tuned.score, list[Mark]()
    having = [trial for trial in tuned.trials if key in trial.values]
    for state, those in _by_state(having).items():
        texts = [f"trial {trial.number}, {trial.came.round} rounds" for trial in those]
        at = [trial.values[key] if isinstance(dimension, Range) else plain(trial.values[key]) for trial in those]
        heights = [number(trial.came.value) for trial in those]
        marks.append(Points(at, heights, WORDS[state], COLOUR[state], texts, SYMBOL[state]))
    log = isinstance(dimension, Range) and dimension.log
    places = () if isinstance(dimension, Range) else tuple(plain(value) for value in dimension.values)
    whole = isinstance(dimension, Range) and dimension.whole
    caption = f"{score.title} on the validation examples at the last recorded round of each trial, against {key}."
    worst = f"counts as {score.worst:g}" if score.share else "is not shown"
    caption += f" A trial that failed {worst}." if any(t.came.error for t in having) else ""
    axes = Axis(key, log=log, places=places, whole=whole), score_axis(score, "validation")
    return Figure(f"against-{identity(key)}", key, caption, *axes, marks)


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
    score = tuned.score
    reached = [trial.came.value for trial in shown]
    axes.append(Upright(score_axis(score).label, reached, percent=score.share))
    caption = (
        f"A line for each trial that did not fail, coloured by its validation {score.words}. Where a trial lacks a"
        " parameter, its line has a gap."
    )
    places, upright = Axis("", places=[axis.label for axis in axes]), Axis("", ends=(-0.04, 1.08), hidden=True)
    lines = Parallel(axes, lower=score.better == "lower")
    return Figure("parallel", "All parameters together", caption, places, upright, [lines])


def _importance(tuned: Tuned) -> Figure | None:
    from fedsam.tuning.study import importance

    tried = [(t.values, t.came.merit) for t in tuned.trials if t.came.state != "failed"]
    shares = importance(tuned.space, tried)
    if not shares:
        return None
    names = list(reversed(shares))
    bars = Bars(names, [shares[name] for name in names], "importance", COLOUR["done"], flat=True)
    caption = (
        "How much each parameter decides whether a trial is among the best tenth (PED-ANOVA, Watanabe et al. 2023); the"
        f" shares add up to 100 %. From {len(tried)} trials, those that were stopped early at their last value;"
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
