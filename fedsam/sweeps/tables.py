"""The table of a comparison for other programs and for papers: CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsam.measure.names import split_of, value_of
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def write(rows: Sequence[dict[str, Any]], out: Path, last: int) -> None:
    """Write table.csv, table.md and table.tex.

    Args:
        rows: as `Comparison.rows`; accuracies from 0 to 1.
        out: the directory.
        last: rounds whose mean the accuracy is.
    """
    caption = (
        f"{split_of(rows[0]).capitalize()} accuracy (%), mean of the last {last} rounds; ± standard deviation over"
    )
    caption += " seeds; differences are paired over seeds, in percentage points, with the 95 % confidence interval."
    for name, text in (
        ("table.csv", as_csv(rows)),
        ("table.md", as_markdown(rows, caption)),
        ("table.tex", as_latex(rows, caption)),
    ):
        with on_disk(out / name):
            replace_file(out / name, encoded(text))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line a setting, all digits; a column for each seed's accuracy."""
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    fields = ("setting", "mean", "std", "difference", "interval", "seconds_per_round")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *(f"seed {seed}" for seed in seeds)])
    for row in rows:
        by_seed = dict(zip(row["seeds"], value_of(row), strict=True))
        writer.writerow([*(row.get(field) for field in fields), *(by_seed.get(seed) for seed in seeds)])
    return text.getvalue()


def as_markdown(rows: Sequence[dict[str, Any]], caption: str) -> str:
    """A table of pipes, and what its numbers are."""
    lines = ["| setting | accuracy | less the first |", "|---|---|---|"]
    lines += [f"| {_piped(row['setting'])} | {_accuracy(row)} | {_less(row)} |" for row in rows]
    return "\n".join([*lines, "", caption]) + "\n"


def as_latex(rows: Sequence[dict[str, Any]], caption: str) -> str:
    """A tabular between rules of booktabs, and what its numbers are as a comment."""
    lines = [
        f"% {caption}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"setting & accuracy & less the first \\",
        r"\midrule",
    ]
    for row in rows:
        numbers = " & ".join(f"${text}$" if text else "" for text in (_accuracy(row), _less(row)))
        lines.append(f"{_escaped(row['setting'])} & {numbers.replace('±', chr(92) + 'pm')} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _accuracy(row: dict[str, Any]) -> str:
    spread = f" ± {100 * row['std']:.2f}" if len(row["seeds"]) > 1 else ""
    return f"{100 * row['mean']:.2f}{spread}"


def _less(row: dict[str, Any]) -> str:
    if row.get("difference") is None:
        return ""
    reach = "" if row["interval"] is None else f" ± {100 * row['interval']:.2f}"
    return f"{100 * row['difference']:+.2f}{reach}"


def _piped(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
