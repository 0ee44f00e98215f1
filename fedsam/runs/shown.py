"""What a job ends in, as Python and notebooks show it: a line, a table, a data frame, a figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from fedsam.errors import InputError

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

    from fedsam.reports.sheet import Sheet


class Shown(ABC):
    """The result of a job."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """What there is to be told, row by row, as plain JSON types."""

    @abstractmethod
    def headline(self) -> str:
        """What it is and what came of it, in one line."""

    @abstractmethod
    def plot(self) -> Sheet:
        """A figure of it, matplotlib's; `.savefig("figure.pdf")` writes it."""

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Heads and cells of the table that a person sees; without cells there is none."""
        return (), []

    @property
    def df(self) -> pandas.DataFrame:
        """`rows` as a data frame.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            told = "a data frame needs pandas: pip install pandas; rows() gives the same as dictionaries"
            raise InputError("", InputError.ABSENT, told) from None
        return pandas.DataFrame(self.rows())

    def __repr__(self) -> str:
        heads, cells = self.table()
        if not cells:
            return self.headline()
        lines = [heads, *cells] if any(heads) else cells
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        left = len(widths) if not any(heads) else 1
        signs = ["<" if n < left else ">" for n in range(len(widths))]
        padded = (
            [f"{text:{sign}{width}}" for text, sign, width in zip(line, signs, widths, strict=True)] for line in lines
        )
        return "\n".join([self.headline(), *("  ".join(line).rstrip() for line in padded)])

    def _repr_html_(self) -> str:
        heads, cells = self.table()
        first = f"<p>{escape(self.headline())}</p>"
        if not cells:
            return first
        head = "".join(f"<th>{escape(text)}</th>" for text in heads if any(heads))
        body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in line)}</tr>" for line in cells)
        return f"{first}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
