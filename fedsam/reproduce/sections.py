"""What comes first in the report of a reproduction: the claims, and the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsam.reports.section import Maker, Picture, Section, Table
from fedsam.reports.settings import Setting


def sections(out: Path, names: Sequence[str], claims: Sequence[Mapping[str, Any]]) -> tuple[Maker, Maker]:
    """Makers of both sections.

    Args:
        out: the directory of results, with figures/.
        names: of the figures that are there.
        claims: the cells of the table of claims by their headers, a row each, and in `reason` why one has no answer.
    """

    def answered(settings: Sequence[Setting]) -> Section:
        header = [name for name in claims[0] if name != "reason"] if claims else []
        rows = [[row[name] for name in header] for row in claims]
        caption = (
            "What the paper says, and what was measured here: mean and 95 % interval over seeds. A claim holds where"
            " the whole interval lies on its side of the limit."
        )
        why = [f"No answer to \u201c{row['claim']}\u201d: {row['reason']}." for row in claims if row["reason"]]
        return Section("claims", "The paper's claims", [Table(caption, header, rows, len(header)), *why])

    def drawn(settings: Sequence[Setting]) -> Section | None:
        pictures = [Picture(name, (out / "figures" / f"{name}.png").read_bytes()) for name in names]
        said = (
            "Of the runs below; lines are means over seeds, with one standard deviation. The numbers are in figures/."
        )
        return Section("paper", "The paper's figures", [said, *pictures]) if pictures else None

    return answered, drawn
