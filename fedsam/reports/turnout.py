"""Who delivered: clients by round and reason, and the metric against simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import DASHES, Line, Mark
from fedsam.reports.numbers import Get, curve, field, headline, number
from fedsam.reports.section import Section, Table, in_words, score_axis, score_of, significant, split_shown
from fedsam.reports.settings import Setting
from fedsam.runs.turned_out import WORDS

ASIDE = ("rounds", "empty", "asked", "trained", "shortened")
"""What is counted beside the reasons for which clients dropped."""


def turnout_section(settings: Sequence[Setting]) -> Section | None:
    """Clients that trained and that dropped, in the course of the run and in all; the metric against simulated time."""
    having = [setting for setting in settings if any(_counts(record) for record in _records(setting))]
    if not having:
        return None
    figures = [figure for figure in (_participation(having), _against_time(having)) if figure]
    return Section("turnout", "Turnout", [*figures, _table(having)])


def _records(setting: Setting) -> list[dict[str, Any]]:
    return [record for run in setting.runs.values() for record in run.metrics]


def _counts(record: dict[str, Any]) -> dict[str, Any]:
    found = record.get("turnout")
    return found if isinstance(found, dict) and number(found.get("rounds")) else {}


def _reasons(settings: Sequence[Setting]) -> list[str]:
    names = dict.fromkeys(name for s in settings for record in _records(s) for name in _counts(record))
    return [name for name in names if name not in ASIDE]


def _words(name: str) -> str:
    return WORDS.get(name, in_words(name))


def _a_round(name: str) -> Get:
    """A count per round, over the rounds since the record before."""

    def get(record: dict[str, Any]) -> float | None:
        found = _counts(record)
        count = number(found.get(name))
        return None if count is None else count / float(found["rounds"])

    return get


def _participation(settings: Sequence[Setting]) -> Figure | None:
    marks: list[Mark] = []
    for setting in settings:
        for place, name in enumerate(["trained", *_reasons(settings)]):
            drawn = curve(setting, _a_round(name))
            if drawn and (any(drawn.mean) or not place):
                dash = DASHES[place % len(DASHES)]
                marks.append(
                    Line(drawn.rounds, drawn.mean, f"{setting.name}: {_words(name)}", setting.colour, dash=dash)
                )
    if not marks:
        return None
    caption = (
        "Clients of a round that delivered (solid), and that were asked but did not, by reason: means over the rounds"
        " since the record before, and over seeds."
    )
    return Figure("turnout", "Clients of a round", caption, Axis("round", whole=True), Axis("clients"), marks)


def _against_time(settings: Sequence[Setting]) -> Figure | None:
    marks: list[Mark] = []
    for setting in settings:
        reached, time = curve(setting, headline), curve(setting, field("simulated_seconds"))
        if reached and time and any(time.mean):
            at = dict(zip(time.rounds, time.mean, strict=True))
            points = [(at[r], v) for r, v in zip(reached.rounds, reached.mean, strict=True) if r in at]
            seconds, values = [s for s, _ in points], [v for _, v in points]
            marks.append(Line(seconds, values, setting.name, setting.colour, dash=setting.dash))
    if not marks:
        return None
    score, axis = score_of(settings), Axis("simulated time (s)")
    caption = (
        f"{score.title} of the served model against simulated time: of each round that of its slowest client, or its"
        " deadline. Means over seeds."
    )
    title = f"{score.title} against simulated time"
    return Figure("simulated-time", title, caption, axis, score_axis(score, split_shown(settings)), marks)


def _table(settings: Sequence[Setting]) -> Table:
    names = ["asked", "trained", "shortened", *_reasons(settings), "empty"]
    rows = []
    for setting in settings:
        by_run = [[_counts(record) for record in run.metrics] for run in setting.runs.values()]
        sums = [fmean(sum(number(counts.get(name)) or 0 for counts in run) for run in by_run) for name in names]
        last = [number(run.metrics[-1].get("simulated_seconds")) or 0.0 for run in setting.runs.values()]
        rows.append([setting.name, *map(significant, sums), significant(fmean(last))])
    header = ["setting", *map(_words, names), "simulated time (s)"]
    caption = (
        "Clients of all rounds, mean over seeds: asked, trained, trained with part of their steps, dropped by reason;"
        " rounds in which nobody delivered; simulated time."
    )
    return Table(caption, header, rows)
