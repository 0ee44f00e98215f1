"""The space of a search, from the values of keys on the command line.

    client.lr=log:1e-3..0.3    a range, searched on a logarithmic scale
    client.rho=0.05..0.5       a range; of whole numbers where the key takes no others (client.epochs=1..4)
    client.name=sgd,sam        choices
    client.lr=log:1e-3..1/7    for a grid: so many points, both ends among them

All other keys are the same in every trial.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsam.border.budget import MOST
from fedsam.config import find, names, owned_keys
from fedsam.data.augment.base import Augment
from fedsam.errors import InputError
from fedsam.run import Run
from fedsam.sweeps import grid

RANGE = re.compile(r"(log:|[-+]?\.?\d)[^,]*\.\.|log:")  # what is meant to be one; a path is not
POINTS = 5  # of a range in a grid
DIGITS = 4  # significant ones of a value that is suggested
TRIED = 1000  # combinations of choices that are checked before anything is run
TAKEN = ("seed", "rounds", "evaluate_every", "evaluate_last", "checkpoint_every", "attack_images", "out")
GROUPS_TAKEN = ("task", "engine", "attack", "geometry")


@dataclass(frozen=True)
class Choices:
    """A key with several values."""

    key: str
    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        """The values that are tried before anything is run: all."""
        return self.values

    def points(self) -> tuple[Any, ...]:
        """Its values in a grid."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A key with any value between two, both among them.

    Args:
        low, high: the ends.
        log: whether equal steps are equal ratios.
        whole: whether only whole numbers are meant.
        count: points in a grid.
    """

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    count: int = POINTS

    def ends(self) -> tuple[float, ...]:
        """The values that are tried before anything is run."""
        return self.value(self.low), self.value(self.high)

    def value(self, number: float) -> float:
        """The number as it is tried: whole, or of few digits, and never outside."""
        if self.whole:
            return int(min(max(round(number), self.low), self.high))
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def at(self, share: float) -> float:
        """The value that so much of the range lies below, from 0 to 1."""
        if self.log:
            return self.value(math.exp((1 - share) * math.log(self.low) + share * math.log(self.high)))
        return self.value((1 - share) * self.low + share * self.high)

    def points(self) -> tuple[float, ...]:
        """`count` values at equal steps, or ratios, each once.

        >>> Range("client.lr", 0.001, 1.0, log=True, count=4).points()
        (0.001, 0.01, 0.1, 1.0)
        """
        return tuple(dict.fromkeys(self.at(place / (self.count - 1)) for place in range(self.count)))


Dimension = Choices | Range
Values = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """What is searched, and what stays.

    Args:
        fixed: the keys that are the same in every trial.
        dimensions: those that are searched: names of components first, then other choices, then ranges, so that
            whether a part has a key is known when the key's turn comes.
    """

    fixed: Values
    dimensions: tuple[Dimension, ...]

    def said(self) -> list[Any]:
        """Those of the keys that stay, and the choices."""
        choices = [dimension.values for dimension in self.dimensions if isinstance(dimension, Choices)]
        return [*self.fixed.values(), *itertools.chain(*choices)]

    def has(self, dimension: Dimension, chosen: Mapping[str, Any]) -> bool:
        """Whether the parts that are chosen so far have this key: `client.rho` is none of SGD."""
        own = {**self.fixed, **chosen, dimension.key: dimension.ends()[0]}
        return dimension.key in grid.understood(own)

    def keys(self, chosen: Mapping[str, Any]) -> Values:
        """The keys of a trial; what its parts do not have is left out, if it was given for others."""
        return grid.understood({**self.fixed, **chosen})

    def combinations(self, values: Sequence[Sequence[Any]]) -> Iterator[Values]:
        """Every combination of these values of the dimensions, without keys that its parts do not have; each once."""
        return self._completed({}, list(zip(self.dimensions, values, strict=True)))

    def _completed(self, chosen: Values, rest: Sequence[tuple[Dimension, Sequence[Any]]]) -> Iterator[Values]:
        """Every way to choose the rest; a dimension that the parts chosen so far do not have is passed by, not tried
        with each of its values.
        """
        if not rest:
            yield chosen
            return
        (dimension, values), *later = rest
        if not self.has(dimension, chosen):
            yield from self._completed(chosen, later)
            return
        for value in values:
            yield from self._completed({**chosen, dimension.key: value}, later)

    def points(self) -> list[Values]:
        """The grid.

        Raises:
            InputError: it has too many points.
        """
        each = [dimension.points() for dimension in self.dimensions]
        found = list(itertools.islice(self.combinations(each), MOST + 1))
        if len(found) > MOST:
            longest = max(zip(self.dimensions, each, strict=True), key=lambda pair: len(pair[1]))[0].key
            raise InputError(longest, InputError.ABSENT, f"the grid has more than {MOST:,} points; give fewer values")
        return found


def space_of(keys: Mapping[str, Any]) -> Space:
    """The space that keys describe.

    Raises:
        InputError: a range is empty or cannot be read, a key cannot be searched, no trial would have it, or one with
            values from an end of the space would be impossible.
    """
    dimensions, fixed = [], {}
    for key, given in keys.items():
        found = _dimension(key, given)
        if found is None:
            fixed[key] = given
        else:
            _must_be_free(key, given)
            dimensions.append(found)
    if not dimensions:
        raise InputError(
            "", InputError.ABSENT, "there is nothing to tune; give a range or choices, such as client.lr=log:1e-3..1"
        )
    dimensions.sort(key=lambda each: (isinstance(each, Range), not each.key.endswith(".name")))
    space = Space(fixed, tuple(dimensions))
    return Space(fixed, _checked(space, keys))


def _dimension(key: str, given: Any) -> Dimension | None:
    """None for a key with one value."""
    if isinstance(given, str) and RANGE.match(given):
        return _range(key, given)
    values = grid.values(given, key)
    if len(values) < 2:
        return None
    if "" in values:
        raise InputError(key, given, "one of its values is empty")
    if not all(isinstance(value, str | int | float) for value in values):
        raise InputError(key, given, "choices are numbers, names or true and false")
    return Choices(key, tuple(dict.fromkeys(values)))


def _range(key: str, given: str) -> Range:
    log, text = given.startswith("log:"), given.removeprefix("log:")
    text, slash, points = text.partition("/")
    low, _, high = text.partition("..")
    try:
        ends = float(low), float(high)
        count = int(points) if slash else POINTS
        if not all(map(math.isfinite, ends)):
            raise ValueError
    except ValueError:
        raise InputError(
            key, given, "must be a..b or log:a..b with numbers a and b, for a grid also a..b/points"
        ) from None
    if ends[0] >= ends[1]:
        raise InputError(key, given, f"is empty: {low} is not below {high}")
    if log and ends[0] <= 0:
        raise InputError(key, given, f"there is no logarithm of {low}; the lower end must be above 0")
    if not 2 <= count <= MOST:
        raise InputError(key, given, f"a grid needs at least 2 points, both ends, and has at most {MOST:,}")
    return Range(key, *ends, log, low.strip().lstrip("+-").isdigit() and high.strip().lstrip("+-").isdigit(), count)


def _must_be_free(key: str, given: Any) -> None:
    """Refuse keys that must be the same in all trials, or that are no matter of how well is learned."""
    group, dot, leaf = key.partition(".")
    augment = {"augment", *(own for name in names(Augment) for own in owned_keys(find(Augment, name), {}))}
    if group == "data" and dot and leaf not in augment:
        raise InputError(key, given, "cannot be searched: every trial has the same data; give one value")
    if key in TAKEN or (dot and group in GROUPS_TAKEN):
        raise InputError(key, given, "cannot be searched: it must be the same in every trial; give one value")


def _checked(space: Space, keys: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The dimensions, knowing which keys take whole numbers only; every end has been a valid run."""
    whole: dict[str, bool] = {}
    used: set[str] = set()
    lowest = [each.values if isinstance(each, Choices) else each.ends()[:1] for each in space.dimensions]
    trials = [lowest]
    for place, each in enumerate(space.dimensions):
        if isinstance(each, Range):
            trials.append([*lowest[:place], each.ends()[1:], *lowest[place + 1 :]])
    for values in trials:
        for chosen in itertools.islice(space.combinations(values), TRIED):
            own = space.keys(chosen)
            resolved = Run.from_keys(own).keys()
            used |= set(own)
            whole |= {key: isinstance(resolved[key], int) for key in chosen}
    unused = next((key for key in keys if key not in used), None)
    if unused is not None:
        ends = {each.key: each.ends()[0] for each in space.dimensions}
        Run.from_keys({**space.fixed, **next(space.combinations(lowest)), unused: ends.get(unused, keys[unused])})
        raise InputError(unused, keys[unused], "no trial has this key")
    return tuple(
        Range(each.key, each.low, each.high, each.log, each.whole and whole[each.key], each.count)
        if isinstance(each, Range)
        else each
        for each in space.dimensions
    )
