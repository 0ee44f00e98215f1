"""What the page is made of: sections of figures, tables and notes, and how numbers are written in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fedsam.measure.names import further_of, split_of
from fedsam.measure.score import Score, in_unit
from fedsam.measure.score import digits as rounded
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Line, Mark
from fedsam.reports.numbers import Curve, Get, curve, number, spread
from fedsam.reports.settings import Setting


@dataclass(frozen=True)
class Table:
    """A table; its cells are plain text.

    Args:
        caption: says what the numbers are.
        words: how many columns, from the left, hold words; the others hold numbers.
        folded: whether a reader has to open it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A drawing that is there already, as PNG; `name` says what it shows."""

    name: str
    png: bytes


Block = Figure | Table | Picture | str
"""What a section is made of; a string is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A part of the page; `id` is its anchor. Plain strings among the blocks are paragraphs."""

    id: str
    title: str
    blocks: list[Block] = field(default_factory=list)


Maker = Callable[[Sequence[Setting]], Section | None]
"""Makes a section of what the settings hold; None if they hold nothing for it."""


def curves(id: str, title: str, what: str, axis: Axis, settings: Sequence[Setting], get: Get) -> Figure | None:
    """A quantity against rounds, a line for each setting that has it; None where none has.

    Mean over seeds, a band of one sample standard deviation, and thin lines for up to five single seeds.
    """
    found = [(setting, drawn) for setting in settings if (drawn := curve(setting, get))]
    if not found:
        return None
    marks = [mark for setting, drawn in found for mark in lines(setting, drawn)]
    caption = f"{what} {over_seeds([drawn for _, drawn in found])}"
    return Figure(id, title, caption, Axis("round", whole=True), axis, marks, together=len(found) <= 8)


def lines(setting: Setting, drawn: Curve) -> list[Mark]:
    """The lines of one setting: its mean with a band, and its seeds."""
    marks: list[Mark] = []
    several = len(drawn.seeds) > 1
    if several and len(drawn.seeds) <= 5:
        for seed, (rounds, values) in drawn.seeds.items():
            name = f"{setting.name}, seed {seed}"
            marks.append(Line(rounds, values, name, setting.colour, dash=setting.dash, thin=True, of=setting.name))
    low = [m - s for m, s in zip(drawn.mean, drawn.std, strict=True)] if several else None
    high = [m + s for m, s in zip(drawn.mean, drawn.std, strict=True)] if several else None
    return [*marks, Line(drawn.rounds, drawn.mean, setting.name, setting.colour, low, high, setting.dash)]


def over_seeds(drawn: Sequence[Curve]) -> str:
    """How the lines come of the seeds, for a caption."""
    counts = {len(d.seeds) for d in drawn}
    if counts == {1}:
        return "One seed."
    n = f"{counts.pop()} seeds" if len(counts) == 1 else "each setting's seeds"
    thin = ", thin lines are single seeds" if any(1 < len(d.seeds) <= 5 for d in drawn) else ""
    ragged = any(len({tuple(rounds) for rounds, _ in d.seeds.values()}) > 1 for d in drawn)
    only = " The mean is over the rounds that every seed has recorded." if ragged else ""
    return f"Mean over {n}, the band is ± one sample standard deviation{thin}.{only}"


def split_shown(settings: Sequence[Setting]) -> str:
    """On what the settings were measured: `test`, `validation`, or both."""
    records = (record for setting in settings for run in setting.runs.values() for record in run.metrics)
    return " or ".join(sorted({split_of(record) for record in records}))


def further_shown(settings: Sequence[Setting]) -> list[str]:
    """More test splits that a setting was measured on: `unseen`."""
    lasts = (run.metrics[-1] for setting in settings for run in setting.runs.values())
    return list(dict.fromkeys(split for record in lasts for split in further_of(record)))


def score_of(settings: Sequence[Setting]) -> Score:
    """How the metric is told that the settings are judged by."""
    return settings[0].scores[0]


def loss_of(settings: Sequence[Setting]) -> Score:
    """How their loss is told."""
    return next((score for score in settings[0].scores if score.name == "loss"), Score("loss", "lower"))


def axis_of(words: str, score: Score) -> Axis:
    """An axis with these words, along which are values of a metric."""
    return Axis(words if score.share else in_unit(words, score.unit), percent=score.share)


def score_axis(score: Score, *before: str) -> Axis:
    """The axis of a metric, with these words before its own."""
    return axis_of(" ".join([*before, score.words]), score)


def identity(name: str) -> str:
    """A name as part of a figure's id."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def significant(value: object, digits: int = 4) -> str:
    """A number with so many significant digits, or a dash for none."""
    found = number(value)
    if found is None:
        return "–"
    if found == int(found) and abs(found) < 1e9:
        return f"{int(found):,}"
    return rounded(found, digits)


def over(values: Sequence[float], score: Score) -> str:
    """Mean ± sample standard deviation under a metric's label; the mean alone of one, a dash of none."""
    return score.cell(fmean(values), spread(values) if len(values) > 1 else None) if values else score.cell(None)


def in_words(name: str) -> str:
    """A key of a file as a reader sees it."""
    return name.replace("_", " ")
