"""The table of a comparison for other programs and for papers: CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.measure.names import split_of, value_of
from fedsam.measure.score import Score
from fedsam.reports.words import GREEK, described, keys_of, readable
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded

PAIRED = "paired over seeds, {}with the 95 % confidence interval"
BEST = {"md": "**{}**", "tex": r"\mathbf{{{}}}"}
LETTERS = {letter: f"$\\{name}$" for name, letter in GREEK.items() if len(letter) == 1 and name != "lmbda"}
LETTERS |= {"λ": r"$\lambda$", "₁": "$_1$", "₂": "$_2$"}
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def write(rows: Sequence[dict[str, Any]], out: Path, score: Score, last: int) -> None:
    """Write table.csv, table.md and table.tex.

    Args:
        rows: as `Comparison.rows`; shares from 0 to 1.
        out: the directory.
        score: how values are told.
        last: rounds whose mean a value is.
    """
    caption = f"{score.label(split_of(rows[0]).capitalize())}, mean of the last {last} rounds"
    if any(len(row["seeds"]) > 1 for row in rows):
        paired = f"differences{of_same_data(rows)} are {PAIRED.format(in_points(score))}"
        caption += f"; ± standard deviation over seeds; {paired}"
    caption += "."
    for name, text in (
        ("table.csv", as_csv(rows)),
        ("table.md", as_markdown(rows, caption, score)),
        ("table.tex", as_latex(rows, caption, score)),
    ):
        with on_disk(out / name):
            replace_file(out / name, encoded(text))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line a setting, all digits; a column for each seed's value."""
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    fields = ("setting", "mean", "std", "difference", "interval", "seconds_per_round")
    parts = [(split, part) for split in further(rows) for part in ("mean", "std")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *("_".join(part) for part in parts), *(f"seed {seed}" for seed in seeds)])
    for row in rows:
        by_seed = dict(zip(row["seeds"], value_of(row), strict=True))
        more = [row.get("further", {}).get(split, {}).get(part) for split, part in parts]
        spread = {"std": None} if len(row["seeds"]) == 1 else {}
        writer.writerow(
            [*((row | spread).get(field) for field in fields), *more, *(by_seed.get(seed) for seed in seeds)]
        )
    return text.getvalue()


def pipes(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    top, *below = (f"| {' | '.join(cells)} |" for cells in (head, *lines))
    return [top, f"|{'---|' * len(head)}", *below]


def of_seeds(values_SM: np.ndarray) -> list[str]:
    """Mean and sample standard deviation over S seeds, which is 0 for one, of M numbers."""
    spread = values_SM.std(axis=0, ddof=1) if len(values_SM) > 1 else np.zeros(values_SM.shape[1])
    return [f"{mean:.2f} ± {std:.2f}" for mean, std in zip(values_SM.mean(axis=0), spread, strict=True)]


def as_markdown(rows: Sequence[dict[str, Any]], caption: str, score: Score) -> str:
    """A table of pipes, and what its numbers are."""
    more = further(rows)
    head = ["setting", score.words, "less the first", *more]
    cells = [
        [
            *(_piped(readable(row["setting"])), _value(row, score), less(row, score)),
            *(of_further(row, split, score) for split in more),
        ]
        for row in rows
    ]
    lines = pipes([*map(_piped, head)], cells)
    if (found := crossed(rows, score, BEST["md"])) is not None:
        columns, crossing = found
        lines += ["", *pipes([*map(_piped, columns)], ([*map(_piped, line)] for line in crossing))]
    return "\n".join([*lines, "", caption]) + "\n"


def as_latex(rows: Sequence[dict[str, Any]], caption: str, score: Score) -> str:
    """A tabular between rules of booktabs, and what its numbers are as a comment."""
    more = further(rows)
    lines = [
        f"% {caption}",
        rf"\begin{{tabular}}{{lrr{'r' * len(more)}}}",
        r"\toprule",
        " & ".join(["setting", _escaped(score.words), "less the first", *map(_escaped, more)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        texts = _value(row, score), less(row, score), *(of_further(row, split, score) for split in more)
        numbers = " & ".join(f"${text}$" if text else "" for text in texts)
        lines.append(f"{_escaped(readable(row['setting']))} & {numbers.replace('±', chr(92) + 'pm')} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if (found := crossed(rows, score, BEST["tex"])) is not None:
        (corner, *columns), crossing = found
        lines += [
            "",
            "% the same, by data; the best of each column is bold",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        ]
        lines += [r"\toprule", " & ".join(map(_escaped, [corner, *columns])) + r" \\", r"\midrule"]
        for method, *cells in crossing:
            numbers = " & ".join(f"${cell.replace('±', chr(92) + 'pm')}$" for cell in cells)
            lines.append(rf"{_escaped(method)} & {numbers} \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def crossed(rows: Sequence[dict[str, Any]], score: Score, best: str = "{}") -> tuple[list[str], list[list[str]]] | None:
    """A line for each method and a column for each data, of settings that are every combination of both.

    Args:
        rows: as `Comparison.rows`.
        score: how values are told.
        best: how the best of a column is written, in place of `{}`.

    Returns:
        The heads and the lines; None where settings are no such combinations, or have names of their own.
    """
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        own = keys_of(row["setting"])
        parts = [[key for key in own if key.startswith("data.") == data] for data in (False, True)]
        if not all(parts):
            return None
        method, data = (described(own, part) for part in parts)
        cells[method, data] = row
    methods, columns = (list(dict.fromkeys(place)) for place in zip(*cells, strict=True))
    if min(len(methods), len(columns)) < 2 or len(cells) < len(methods) * len(columns):
        return None
    tops = {data: score.best(cells[method, data]["mean"] for method in methods) for data in columns}

    def cell(method: str, data: str) -> str:
        row = cells[method, data]
        text = _value(row, score)
        return best.format(text) if row["mean"] == tops[data] else text

    heads = [f"method, {score.label(split_of(rows[0]))}", *columns]
    return heads, [[method, *(cell(method, data) for data in columns)] for method in methods]


def of_same_data(rows: Sequence[dict[str, Any]]) -> str:
    """Where several settings are the first of their data, a word of it for the middle of a sentence."""
    return " with the same data" if sum(row.get("difference") is None for row in rows) > 1 else ""


def further(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The further test splits of a comparison, such as `unseen`."""
    return list(dict.fromkeys(split for row in rows for split in row.get("further", {})))


def of_further(row: dict[str, Any], split: str, score: Score) -> str:
    """The headline metric of a row on such a split; nothing where it has none."""
    found = row.get("further", {}).get(split)
    return score.cell(found["mean"], found["std"] if len(row["seeds"]) > 1 else None) if found else ""


def _value(row: dict[str, Any], score: Score) -> str:
    return score.cell(row["mean"], row["std"] if len(row["seeds"]) > 1 else None)


def less(row: dict[str, Any], score: Score) -> str:
    """The difference of a row to the first one, with the reach of its interval; nothing where there is none."""
    return "" if row.get("difference") is None else score.change(row["difference"], row["interval"])


def in_points(score: Score) -> str:
    """The unit of differences, for the middle of a sentence."""
    unit = "percentage points" if score.share else score.unit
    return f"in {unit}, " if unit else ""


def _piped(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    return "".join(LETTERS.get(c) or SPECIAL.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
