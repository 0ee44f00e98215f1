"""What the runs cost: bytes sent, and time by phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean

from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Bars, Line
from fedsam.reports.numbers import curve, headline, spread, total, traffic
from fedsam.reports.palette import COLOURS
from fedsam.reports.read import Loaded
from fedsam.reports.section import Section, Table, score_axis, score_of, significant, split_shown
from fedsam.reports.settings import Setting

PHASES = {"training": "seconds", "evaluation": "eval_seconds"}


def traffic_section(settings: Sequence[Setting]) -> Section | None:
    """The metric against the bytes sent, and their sums."""
    having = [setting for setting in settings if any(total(run, "bytes_up") for run in setting.runs.values())]
    if not having:
        return None
    marks, split, score = [], split_shown(having), score_of(having)
    for setting in having:
        drawn = curve(setting, headline)
        sent = [dict(_sent(run)) for run in setting.runs.values()]
        if drawn:
            megabytes = [fmean(table[r] for table in sent) for r in drawn.rounds]
            marks.append(Line(megabytes, drawn.mean, setting.name, setting.colour, dash=setting.dash))
    caption = (
        f"{split.capitalize()} {score.words} of the served model against all that server and clients have sent each"
        " other until then (up and down, all clients of the cohorts). Means over seeds; 1 MB = 10⁶ bytes."
    )
    sent_axis = Axis("sent up and down (MB)")
    title = f"{score.title} against traffic"
    figure = Figure("traffic", title, caption, sent_axis, score_axis(score, split), marks)
    rows = []
    for setting in having:
        up, down = (_mean(setting, name, 1e-6) for name in ("bytes_up", "bytes_down"))
        rounds = fmean(run.recorded for run in setting.runs.values())
        rows.append([setting.name, *map(significant, (up, down, up + down, (up + down) / rounds))])
    header = ["setting", "up (MB)", "down (MB)", "together (MB)", "a round (MB)"]
    return Section("traffic", "Traffic", [figure, Table("Traffic of a run, mean over seeds.", header, rows)])


def _sent(run: Loaded) -> list[tuple[int, float]]:
    sums = accumulate(traffic(record) for record in run.metrics)
    return [(record["round"], done / 1e6) for record, done in zip(run.metrics, sums, strict=True)]


def _mean(setting: Setting, name: str, scale: float = 1.0) -> float:
    return fmean(scale * (total(run, name) or 0.0) for run in setting.runs.values())


def time_section(settings: Sequence[Setting]) -> Section | None:
    """Time of training and of evaluation."""
    having = [setting for setting in settings if any(total(run, "seconds") for run in setting.runs.values())]
    if not having:
        return None
    names = [setting.name for setting in having]
    base = [0.0] * len(having)
    marks = []
    for (phase, name), colour in zip(PHASES.items(), COLOURS, strict=False):
        heights = [_mean(setting, name) for setting in having]
        marks.append(Bars(names, heights, phase, colour, flat=True, base=base))
        base = [b + h for b, h in zip(base, heights, strict=True)]
    caption = "Wall-clock time of a run by phase, mean over seeds; what these phases do not cover is not in it."
    names_axis = Axis("", places=tuple(reversed(names)))
    tall = 130 + 34 * len(names)
    figure = Figure("time", "Time by phase", caption, Axis("time (s)"), names_axis, marks, tall=tall)
    rows = []
    for setting in having:
        sums = [total(run, "seconds") or 0.0 for run in setting.runs.values()]
        rounds = fmean(run.recorded for run in setting.runs.values())
        evaluations = fmean(len(run.metrics) for run in setting.runs.values())
        seconds = significant(fmean(sums)) + (f" ± {significant(spread(sums), 2)}" if len(sums) > 1 else "")
        spent = _mean(setting, "eval_seconds")
        each = significant(1e3 * fmean(sums) / rounds), significant(1e3 * spent / evaluations)
        rows.append([setting.name, seconds, each[0], significant(spent), each[1]])
    header = ["setting", "training (s)", "a round (ms)", "evaluation (s)", "an evaluation (ms)"]
    caption = "Time of a run, mean over seeds (after ±, one sample standard deviation)."
    return Section("time", "Time", [figure, Table(caption, header, rows)])
