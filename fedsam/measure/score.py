"""How a metric is told and compared: its name, which way is better, and its unit. Without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SHARE = "share"


@dataclass(frozen=True)
class Score:
    """A metric as those see it who read records.

    Args:
        name: what records call it, after the name of the split.
        better: which way.
        unit: `share` (of 1, shown in percent), or whatever the numbers are in.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""

    @property
    def share(self) -> bool:
        """Whether it is from 0 to 1, and shown in percent."""
        return self.unit == SHARE

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be in `mark`."""
        return 100.0 if self.share else 1.0

    @property
    def words(self) -> str:
        """Its name, as a reader sees it."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """Its name at the beginning of a sentence."""
        return self.words[:1].upper() + self.words[1:]

    @property
    def mark(self) -> str:
        """What `cell` is in."""
        return "%" if self.share else self.unit

    @property
    def points(self) -> str:
        """The unit of differences."""
        return "points" if self.share else self.unit

    def label(self, *before: str) -> str:
        """Words and unit, for an axis or the head of a column.

        >>> Score("accuracy", "higher", "share").label("test"), Score("rmse", "lower").label("test")
        ('test accuracy (%)', 'test rmse')
        """
        return in_unit(" ".join([*before, self.words]), self.mark)

    def text(self, value: float | None) -> str:
        """A value with its unit: a share in percent, anything else with four digits.

        >>> Score("accuracy", "higher", "share").text(0.9), Score("error", "lower", "nats").text(0.12345)
        ('90.00%', '0.1235 nats')
        """
        if value is None:
            return "not measured"
        return f"{value:.2%}" if self.share else f"{digits(value)} {self.unit}".rstrip()

    def cell(self, value: float | None, spread: float | None = None) -> str:
        """A value under `label`, and its spread where there is one; a dash for none.

        >>> Score("accuracy", "higher", "share").cell(0.9, 0.012), Score("rmse", "lower").cell(0.5, 0.0123)
        ('90.00 ± 1.20', '0.5 ± 0.012')
        """
        if value is None:
            return "–"
        after = "" if spread is None else f" ± {f'{100 * spread:.2f}' if self.share else digits(spread, 2)}"
        return (f"{100 * value:.2f}" if self.share else digits(value)) + after

    def change(self, value: float, spread: float | None = None) -> str:
        """A difference, with its sign, in `points`; otherwise as `cell`."""
        return ("-" if math.copysign(1, value) < 0 else "+") + self.cell(abs(value), spread)

    def merit(self, value: float) -> float:
        """A number that is higher the better the value is."""
        return value if self.better == "higher" else -value

    def is_better(self, one: float, other: float) -> bool:
        """Whether one value is better than the other."""
        return self.merit(one) > self.merit(other)

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return max(values, key=self.merit)

    @property
    def worst(self) -> float:
        """What no value is worse than."""
        ends = (0.0, 1.0) if self.share else (float("-inf"), float("inf"))
        return ends[self.better == "lower"]


ACCURACY, LOSS = Score("accuracy", "higher", SHARE), Score("loss", "lower", "nats")
"""What every run recorded before runs said what they record."""


def digits(value: float, count: int = 4) -> str:
    """A number with so many significant digits, without an exponent below 10⁹.

    >>> digits(12345.6), digits(0.012345, 2)
    ('12,346', '0.012')
    """
    return f"{value:,.0f}" if 10 ** (count - 1) <= abs(value) < 1e9 else f"{value:.{count}g}"


def in_unit(words: str, unit: str) -> str:
    """Words, and their unit in brackets where there is one."""
    return f"{words} ({unit})" if unit else words
