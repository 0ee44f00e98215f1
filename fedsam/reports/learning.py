"""Learning curves, and the results at their end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from fedsam.measure.names import value_of
from fedsam.measure.score import Score, in_unit
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Line, Mark
from fedsam.reports.numbers import (
    LAST,
    LOSS,
    SHARES,
    Difference,
    curve,
    field,
    final,
    finals,
    headline,
    paired,
    raw,
    reach,
    robust,
)
from fedsam.reports.section import (
    Section,
    Table,
    curves,
    further_shown,
    identity,
    lines,
    loss_of,
    over,
    over_seeds,
    score_axis,
    score_of,
    significant,
    split_shown,
)
from fedsam.reports.settings import Setting


def results(settings: Sequence[Setting]) -> Section:
    """Final values, and rounds and bytes to a target."""
    section = Section("results", "Results", [_final(settings)])
    targets = _targets(settings)
    if targets:
        section.blocks.append(targets)
    section.blocks.append(_by_seed(settings))
    return section


def learning(settings: Sequence[Setting]) -> Section:
    """Metric, losses and learning rate against rounds; the raw model against the averaged one."""
    split, averaged = split_shown(settings), any(curve(setting, raw) for setting in settings)
    score, loss = score_of(settings), loss_of(settings)
    examples = {"test": "test set", "validation": "validation examples"}.get(split, "test set or validation examples")
    served = "The served model is the average over rounds where a setting has one. " if averaged else ""
    drawn = [
        curves(
            identity(score.name),
            f"{split.capitalize()} {score.words}",
            f"{score.title} of the served model on the {examples} against rounds. {served}".strip(),
            score_axis(score, split),
            settings,
            headline,
        ),
        *(
            curves(
                f"{identity(other)}-{identity(score.name)}",
                f"{other.capitalize()} {score.words}",
                f"{score.title} of the served model on the {other} examples against rounds. {served}".strip(),
                score_axis(score, other),
                settings,
                field(f"{other}_{score.name}"),
            )
            for other in further_shown(settings)
        ),
        _averaging(settings),
        curves(
            "test-loss",
            f"{split.capitalize()} loss",
            f"Mean loss of the served model on the {examples} against rounds.",
            score_axis(loss, split),
            settings,
            LOSS,
        ),
        curves(
            "train-loss",
            "Training loss",
            "Mean loss of the clients while they train, over the rounds since the record before.",
            score_axis(loss, "training"),
            settings,
            field("train_loss"),
        ),
        curves(
            f"robust-{identity(score.name)}",
            f"Robust {score.words}",
            f"{score.title} of the served model on attacked {split} images against rounds.",
            score_axis(score, "robust"),
            settings,
            robust,
        ),
    ]
    rates = [{record.get("lr") for record in run.metrics} for setting in settings for run in setting.runs.values()]
    if any(len(rate) > 1 for rate in rates):
        what = "Learning rate of the clients in the recorded rounds."
        drawn.append(curves("lr", "Learning rate", what, Axis("learning rate"), settings, field("lr")))
    return Section("curves", "Learning curves", [figure for figure in drawn if figure])


def _averaging(settings: Sequence[Setting]) -> Figure | None:
    marks: list[Mark] = []
    found = []
    for setting in settings:
        own, served = curve(setting, raw), curve(setting, headline)
        if own and served:
            found += [own, served]
            marks += [mark for mark in lines(setting, served) if not (isinstance(mark, Line) and mark.thin)]
            marks.append(Line(own.rounds, own.mean, f"{setting.name}: raw", setting.colour, dash="dot"))
    if not marks:
        return None
    score, split = score_of(settings), split_shown(settings)
    caption = (
        f"{split.capitalize()} {score.words} of the averaged model (solid), which is served, and of the raw"
        " global model (dotted), which the clients go on from."
        f" {over_seeds(found).replace(', thin lines are single seeds', '')}"
    )
    title, axes = "Raw and averaged model", (Axis("round", whole=True), score_axis(score, split))
    return Figure("averaging", title, caption, *axes, marks, together=len(found) <= 8)


def _final(settings: Sequence[Setting]) -> Table:
    first, several = settings[0], any(len(setting.runs) > 1 for setting in settings)
    score, loss = score_of(settings), loss_of(settings)
    has_raw = any(finals(setting, raw) for setting in settings)
    has_robust = any(finals(setting, robust) for setting in settings)
    header = ["setting", "seeds", score.label()]
    header += [in_unit("raw model", score.mark), in_unit("gain by averaging", score.points)] if has_raw else []
    others = further_shown(settings)
    header += [score.label("robust")] if has_robust else []
    header += [score.label(other) for other in others]
    header += [loss.label(split_shown(settings))]
    reference = first.name if len(first.name) < 20 else "the reference"
    header += [in_unit(f"difference to {reference}", score.points)] if len(settings) > 1 else []
    rows = []
    for setting in settings:
        own, before = finals(setting), finals(setting, raw)
        row = [setting.name, str(len(own)), _mean(own, score)]
        row += [_mean(before, score), _difference(paired(own, before), score)] if has_raw else []
        row += [_mean(finals(setting, robust), score)] if has_robust else []
        row += [_mean(finals(setting, field(f"{other}_{score.name}")), score) for other in others]
        row += [_mean(finals(setting, LOSS), loss)]
        if len(settings) > 1:
            row.append("reference" if setting is first else _difference(paired(own, finals(first)), score))
        rows.append(row)
    caption = f"At the end: means of the recorded rounds among the last {LAST}."
    if several:
        caption += " After ±: the sample standard deviation over seeds; for differences and gains, which are paired by"
        caption += " seed, half the width of Student's 95 % interval."
    return Table(caption, header, rows)


def _mean(values: dict[int, float], score: Score) -> str:
    return over(list(values.values()), score)


def _difference(found: Difference | None, score: Score) -> str:
    return "–" if found is None else score.change(found.mean, found.half).replace("-", "−")


def _targets(settings: Sequence[Setting]) -> Table | None:
    first, score = settings[0], score_of(settings)
    whole = fmean(finals(first).values())
    rows = []
    for share in SHARES if whole > 0 else SHARES[-1:]:  # of what is negative, nine tenths are more than the whole
        part = share if score.better == "higher" else 1 / share
        target = part * whole
        for setting in settings:
            reached = [found for run in setting.runs.values() if (found := reach(run, target))]
            seeds = f"{len(reached)} of {len(setting.runs)}"
            rounds = _range([float(found.round) for found in reached])
            megabytes = _range([found.bytes / 1e6 for found in reached])
            shown = _target(target, part, score) if setting is first else ""
            rows.append([shown, setting.name, rounds, megabytes, seeds])
    caption = (
        f"Rounds and traffic until a {split_shown(settings)} {score.words} is first recorded: mean over the seeds that"
        f" reached it, and their range. In brackets, of the final {score.words} of {first.name}. MB are 10⁶ bytes, up"
        " and down, of all clients. A target is seen at recorded rounds only."
    )
    return Table(caption, ["target", "setting", "rounds", "MB", "seeds that reached it"], rows, 2)


def _target(target: float, part: float, score: Score) -> str:
    return f"{score.cell(target)} % ({part:.0%})" if score.share else f"{score.text(target)} (× {part:.3g})"


def _range(values: Sequence[float]) -> str:
    if not values:
        return "not reached"
    ends = f" ({significant(min(values))}–{significant(max(values))})" if min(values) < max(values) else ""
    return significant(fmean(values)) + ends


def _by_seed(settings: Sequence[Setting]) -> Table:
    rows, score = [], score_of(settings)
    for setting in settings:
        for seed, run in setting.runs.items():
            best = max(run.metrics, key=lambda record: score.merit(value_of(record)))
            at = f"{score.cell(value_of(best))} (round {best['round']:,})"
            last = score.cell(value_of(run.metrics[-1]))
            rows.append([setting.name, str(seed), score.cell(final(run)), last, at])
    columns = (f"last {LAST} rounds", "last record", "best record")
    header = ["setting", "seed", *(in_unit(column, score.mark) for column in columns)]
    return Table(f"{split_shown(settings).capitalize()} {score.words} of each run.", header, rows, folded=True)
