"""Every point of a grid: all choices, and of ranges so many values (`log:1e-3..1/7`; five by default)."""

from __future__ import annotations

from fedsam.tuning.search.base import Outcome, Search, Suggester, no_more_than
from fedsam.tuning.space import Space, Values


class Grid(Search):
    """All combinations, in the order in which keys and values were given; names of components vary slowest."""

    def trials(self, space: Space, wanted: int | None) -> int:
        """The number of points.

        Raises:
            InputError: other than so many are wanted.
        """
        return no_more_than(len(space.points()), wanted)

    def start(self, space: Space, seed: int, trials: int) -> Suggester:
        """Begin at the first point."""
        return _Points(space.points())


class _Points(Suggester):
    def __init__(self, points: list[Values]) -> None:
        self._left = iter(points)

    def ask(self) -> Values:
        return next(self._left)

    def tell(self, outcome: Outcome) -> None:
        """It changes nothing."""
