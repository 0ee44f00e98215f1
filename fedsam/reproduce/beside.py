"""A paper's published tables with ours beside them.

A paper's module may hold, besides what `fedsam.reproduce.base.Paper` asks for, a function `tables(preset)` that gives
for each table, by its title, a function that makes its rows of `Results`: the header first, all cells as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fedsam.reproduce.base import UNANSWERED, Paper
from fedsam.reproduce.results import Results

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
