"""The clients' own test data in the course of the runs: how well they are served before and after local training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from fedsam.measure.score import Score, in_unit
from fedsam.reports.clients import local_axis, to_the
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Line, Mark
from fedsam.reports.numbers import Get, curve, number
from fedsam.reports.section import Block, Section, Table, in_words, over, score_of, significant
from fedsam.reports.settings import Setting

HALVES = {"before": "dot", "after": "solid"}
"""Dashes of the lines before and after local training."""
STATED = ("mean", "std", "worst_decile")

SERVED = "the served model, or each client's own where there are such"


def inside(half: str, name: str) -> Get:
    """What a record says of the clients before or after local training, if it is a finite number."""
    return lambda record: number(((record.get("local") or {}).get(half) or {}).get(name))


def adaptation(settings: Sequence[Setting]) -> Section | None:
    """Mean and worst decile over rounds, and the distribution over clients and a table at the end."""
    having = [setting for setting in settings if curve(setting, inside("before", "mean"))]
    if not having:
        return None
    blocks: list[Block] = []
    score = score_of(settings)
    worst = f"{score.title} of the worst tenth of the clients"
    for name, words in (("mean", f"Mean {score.words}"), ("worst_decile", worst)):
        caption = (
            f"{words} on the clients' own test data against rounds; dotted: {SERVED}, solid: after one round of"
            " the client's own local training from it, of which nothing is kept. Mean over seeds."
        )
        axes = Axis("round", whole=True), local_axis(score)
        id = f"adaptation-{name.replace('_', '-')}"
        blocks.append(Figure(id, words, caption, *axes, _over_rounds(having, name), together=len(having) <= 4))
    caption = (
        f"Share of the clients on whose own test data the {score.words} of the last measured model is at most that;"
        f" dotted: {SERVED}, solid: after local training; {to_the(score)}. Clients of all seeds."
    )
    axes = local_axis(score), Axis("share of clients", percent=True, ends=(0.0, 1.03))
    title = f"{score.title} by client at the end"
    blocks.append(Figure("adaptation-end", title, caption, *axes, _at_the_end(having)))
    blocks.append(_table(having))
    return Section("adaptation", "Clients before and after local training", blocks)


def _over_rounds(settings: Sequence[Setting], name: str) -> list[Mark]:
    return [
        Line(drawn.rounds, drawn.mean, f"{setting.name}, {half}", setting.colour, dash=dash)
        for setting in settings
        for half, dash in HALVES.items()
        if (drawn := curve(setting, inside(half, name)))
    ]


def last(metrics: Sequence[dict[str, Any]], half: str) -> dict[str, Any]:
    """The last record's summary of the clients; empty where none has one."""
    return next((found for record in reversed(metrics) if (found := (record.get("local") or {}).get(half))), {})


def _at_the_end(settings: Sequence[Setting]) -> list[Mark]:
    marks: list[Mark] = []
    name = score_of(settings).name
    for setting in settings:
        for half, dash in HALVES.items():
            each = [v for run in setting.runs.values() for v in last(run.metrics, half).get(name) or []]
            ordered = sorted(known for value in each if (known := number(value)) is not None)
            if ordered:
                share = [(place + 1) / len(ordered) for place in range(len(ordered))]
                x, y = [ordered[0], *ordered], [0.0, *share]
                marks.append(Line(x, y, f"{setting.name}, {half}", setting.colour, dash=dash, step=True))
    return marks


def _table(settings: Sequence[Setting]) -> Table:
    rows, score = [], score_of(settings)
    for setting in settings:
        for half in HALVES:
            found = [summary for run in setting.runs.values() if (summary := last(run.metrics, half))]
            if found:
                rows.append([f"{setting.name}, {half}", *(_stated(found, n, score) for n in STATED)])
                below = fmean(float(summary.get("below") or 0) for summary in found)
                rows[-1] += [significant(below), significant(fmean(float(s.get("evaluated") or 0) for s in found))]
    beyond = "below" if score.better == "higher" else "above"
    words = (
        f"{score.title} on the clients' own test data, of the last measurement: mean, standard deviation over clients,"
        f" mean of the worst tenth, clients {beyond} local.threshold, clients with test data; mean ± standard deviation"
        " over seeds."
    )
    return Table(words, ["setting", *(in_unit(in_words(name), score.mark) for name in STATED), beyond, "clients"], rows)


def _stated(summaries: Sequence[dict[str, Any]], name: str, score: Score) -> str:
    return over([known for summary in summaries if (known := number(summary.get(name))) is not None], score)
