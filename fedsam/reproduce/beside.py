"""A paper's published tables with ours beside them.

A paper's module may hold, besides what `fedsam.reproduce.base.Paper` asks for, a function `tables(preset)` that gives
for each table, by its title, a function that makes its rows of `Results`: the header first, all cells as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from fedsam.reproduce.base import Paper
from fedsam.reproduce.claim import UNANSWERED
from fedsam.reproduce.results import MissingRun, Results

Rows = Sequence[Sequence[str]]
Tables = Mapping[str, Callable[[Results], Rows]]


def as_markdown(paper: Paper, results: Results, preset: str, tell: Callable[[str], None] = lambda line: None) -> str:
    """All tables of a paper, each under its title; those that lack a run or a number are left out. Maybe empty."""
    made: Tables = getattr(paper, "tables", lambda preset: {})(preset)
    parts = []
    for title, rows in made.items():
        try:
            parts.append(f"{title}\n\n{markdown(rows(results))}")
        except UNANSWERED as error:
            tell(f"{title} is left out: {error}")
    return "\n".join(parts)


def markdown(rows: Rows) -> str:
    """A Markdown table."""
    header, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *others]) + "\n"


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation (of the sample, n − 1)."""
    std = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


ABSENT = "-"
"""In a cell: no run is there."""


def cell(results: Results, value: Callable[[int], float], digits: int) -> str:
    """`spread` of a number over the seeds that are there and have a finite one; of a single seed the number alone."""
    found = []
    for seed in results.seeds:
        with suppress(*UNANSWERED):
            found.append(value(seed))
    found = [number for number in found if math.isfinite(number)]
    return ABSENT if not found else spread(found, digits) if len(found) > 1 else f"{found[0]:.{digits}f}"


def grid(
    results: Results, corner: str, rows: Mapping[str, Mapping[str, Callable[[Results, int], float]]], digits: int = 2
) -> Rows:
    """A table of `cell`s, with `ABSENT` for those that have no run.

    Args:
        corner: the first cell of the header.
        rows: by the first cell of the row and the header of the column.

    Raises:
        MissingRun: there is not one of the runs.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    made = [
        [label, *(cell(results, partial(row[c], results), digits) if c in row else ABSENT for c in columns)]
        for label, row in rows.items()
    ]
    if all(text == ABSENT for row in made for text in row[1:]):
        raise MissingRun(f"for any cell of {corner!r}")
    return [[corner, *columns], *made]
