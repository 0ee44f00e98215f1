"""Learning curves, and the results at their end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from fedsam.measure.names import value_of
from fedsam.report.figure import Axis, Figure
from fedsam.report.marks import Line, Mark
from fedsam.report.numbers import (
    ACCURACY,
    LAST,
    LOSS,
    RAW,
    SHARES,
    Difference,
    curve,
    field,
    final,
    finals,
    paired,
    reach,
    spread,
)
from fedsam.report.section import (
    Section,
    Table,
    accuracy_axis,
    curves,
    lines,
    over_seeds,
    percent,
    plus_minus,
    significant,
    split_shown,
)
from fedsam.report.settings import Setting

ROBUST = field("robust_accuracy")


def results(settings: Sequence[Setting]) -> Section:
    """Final accuracies, and rounds and bytes to a target."""
    section = Section("results", "Results", [_final(settings)])
    targets = _targets(settings)
    if targets:
        section.blocks.append(targets)
    section.blocks.append(_by_seed(settings))
    return section


def learning(settings: Sequence[Setting]) -> Section:
    """Accuracy, losses and learning rate against rounds; the raw model against the averaged one."""
    split, averaged = split_shown(settings), any(curve(setting, RAW) for setting in settings)
    examples = {"test": "test set", "validation": "validation examples"}.get(split, "test set or validation examples")
    served = "The served model is the average over rounds where a setting has one. " if averaged else ""
    drawn = [
        curves(
            "accuracy",
            f"{split.capitalize()} accuracy",
            f"Accuracy of the served model on the {examples} against rounds. {served}".strip(),
            accuracy_axis(split),
            settings,
            ACCURACY,
        ),
        _averaging(settings),
        curves(
            "test-loss",
            f"{split.capitalize()} loss",
            f"Mean cross-entropy of the served model on the {examples} against rounds.",
            Axis(f"{split} loss (nats)"),
            settings,
            LOSS,
        ),
        curves(
            "train-loss",
            "Training loss",
            "Mean loss of the clients while they train, over the rounds since the record before.",
            Axis("training loss (nats)"),
            settings,
            field("train_loss"),
        ),
        curves(
            "robust-accuracy",
            "Robust accuracy",
            f"Accuracy of the served model on attacked {split} images against rounds.",
            Axis("robust accuracy", percent=True),
            settings,
            ROBUST,
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
        raw, served = curve(setting, RAW), curve(setting, ACCURACY)
        if raw and served:
            found += [raw, served]
            marks += [mark for mark in lines(setting, served) if not (isinstance(mark, Line) and mark.thin)]
            marks.append(Line(raw.rounds, raw.mean, f"{setting.name}: raw", setting.colour, dash="dot"))
    if not marks:
        return None
    caption = (
        f"{split_shown(settings).capitalize()} accuracy of the averaged model (solid), which is served, and of the raw"
        " global model (dotted), which the clients go on from."
        f" {over_seeds(found).replace(', thin lines are single seeds', '')}"
    )
    title, rounds, accuracy = "Raw and averaged model", Axis("round", whole=True), accuracy_axis(split_shown(settings))
    return Figure("averaging", title, caption, rounds, accuracy, marks, together=len(found) <= 8)


def _final(settings: Sequence[Setting]) -> Table:
    first, several = settings[0], any(len(setting.runs) > 1 for setting in settings)
    has_raw = any(finals(setting, RAW) for setting in settings)
    has_robust = any(finals(setting, ROBUST) for setting in settings)
    header = ["setting", "seeds", "accuracy (%)"]
    header += ["raw model (%)", "gain by averaging (points)"] if has_raw else []
    header += ["robust accuracy (%)"] if has_robust else []
    header += [f"{split_shown(settings)} loss (nats)"]
    reference = first.name if len(first.name) < 20 else "the reference"
    header += [f"difference to {reference} (points)"] if len(settings) > 1 else []
    rows = []
    for setting in settings:
        own, raw = finals(setting), finals(setting, RAW)
        row = [setting.name, str(len(own)), _mean(own)]
        row += [_mean(raw), _difference(paired(own, raw) if raw else None)] if has_raw else []
        row += [_mean(finals(setting, ROBUST))] if has_robust else []
        row += [_mean(finals(setting, LOSS), 1.0)]
        if len(settings) > 1:
            row.append("reference" if setting is first else _difference(paired(own, finals(first))))
        rows.append(row)
    caption = f"At the end: means of the recorded rounds among the last {LAST}."
    if several:
        caption += " After ±: the sample standard deviation over seeds; for differences and gains, which are paired by"
        caption += " seed, half the width of Student's 95 % interval."
    return Table(caption, header, rows)


def _mean(values: dict[int, float], scale: float = 100.0) -> str:
    found = list(values.values())
    return plus_minus(fmean(found), spread(found), len(found) > 1, scale) if found else "–"


def _difference(found: Difference | None) -> str:
    if found is None:
        return "–"
    half = "" if found.half is None else f" ± {100 * found.half:.2f}"
    return f"{100 * found.mean:+.2f}{half}".replace("-", "−")


def _targets(settings: Sequence[Setting]) -> Table | None:
    first = settings[0]
    whole = fmean(finals(first).values())
    rows = []
    for share in SHARES:
        target = share * whole
        for setting in settings:
            reached = [found for run in setting.runs.values() if (found := reach(run, target))]
            seeds = f"{len(reached)} of {len(setting.runs)}"
            rounds = _range([float(found.round) for found in reached])
            megabytes = _range([found.bytes / 1e6 for found in reached])
            shown = f"{percent(target)} % ({share:.0%})" if setting is first else ""
            rows.append([shown, setting.name, rounds, megabytes, seeds])
    caption = (
        f"Rounds and traffic until a {split_shown(settings)} accuracy is first recorded: mean over the seeds that"
        f" reached it, and their range. In brackets, of the final accuracy of {first.name}. MB are 10⁶ bytes, up and"
        " down, of all clients."
        " A target is seen at recorded rounds only."
    )
    return Table(caption, ["target", "setting", "rounds", "MB", "seeds that reached it"], rows, 2)


def _range(values: Sequence[float]) -> str:
    if not values:
        return "not reached"
    ends = f" ({significant(min(values))}–{significant(max(values))})" if min(values) < max(values) else ""
    return significant(fmean(values)) + ends


def _by_seed(settings: Sequence[Setting]) -> Table:
    rows = []
    for setting in settings:
        for seed, run in setting.runs.items():
            accuracies = [value_of(record) for record in run.metrics]
            best = max(run.metrics, key=value_of)
            at = f"{percent(value_of(best))} (round {best['round']:,})"
            rows.append([setting.name, str(seed), percent(final(run)), percent(accuracies[-1]), at])
    header = ["setting", "seed", f"last {LAST} rounds (%)", "last record (%)", "best record (%)"]
    return Table(f"{split_shown(settings).capitalize()} accuracy of each run.", header, rows, folded=True)
