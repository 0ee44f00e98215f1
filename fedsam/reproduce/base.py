"""What a paper's module is, and what a claim is. Here is how to write one.

A paper is a module `experiments/<bibkey>.py` (first author and year, such as `zhou2025`); it is found by its name. It
holds `TITLE`, `SEEDS` and three functions, see `Paper`:

- `runs(preset)` gives named runs, each with the first seed; the names appear in tables, and `--only` matches them. A
  run may begin with the model of another one: `model=Continued(of=that other run's name)`
  (`fedsam.reproduce.continued`).
- `claims(preset)` gives what the paper says, each a `Claim`: a number per seed, made of `Results`, and on which side of
  a limit it must lie.
- `figures(preset)` gives for each figure a function that makes its panels of `Results`.

A claim or a figure asks `Results` for what it needs by run names: `last`, `mean`, `curve` for recorded rounds, and
`measure` for what is measured at the end of training with a `Measure` (`fedsam.reproduce.measurements`), once. If a run
is not there or a number cannot be had (`UNANSWERED`), the claim is left open and the figure left out, with the reason;
neither has to care.

Published tables, to be shown beside ours, are a function more: `fedsam.reproduce.beside`.

The module's docstring is its reproduction card. Two tables in it are read by a test: `| key | cpu | gpu | paper |` with
the settings that all runs of a preset share, and `| runs | keys |` with patterns of run names and what these runs set
beside or otherwise (`rounds=100/200/200`: in `cpu`, `gpu`, `paper`); what runs differ in is taken from their names,
`sam {b}` with `client.batch_size={b}` (`fedsam.reproduce.card`). Together they must name every key that is not at its
default, with its value, and nothing that is not so. Between the lines `<!-- measured -->` and
`<!-- end of measured -->` stands `claims.md` as `fedsam reproduce` wrote it, unchanged.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np

from fedsam.errors import InputError, RunError
from fedsam.run import Run

if TYPE_CHECKING:
    from fedsam.reproduce.figures import Panel
    from fedsam.reproduce.results import Results

Preset = Literal["cpu", "gpu", "paper"]
PRESETS: tuple[Preset, ...] = ("cpu", "gpu", "paper")
BIBKEY = re.compile(r"[a-z]+(?:19|20)\d\d[a-z]?")
Verdict = Literal["yes", "no", "undecided"]


class MissingRun(Exception):
    """A run that is asked for is not there; its name is the message."""

    def __str__(self) -> str:
        return f"there is no run {self.args[0]}"


UNANSWERED = (MissingRun, RunError, ArithmeticError, ValueError)
"""What leaves a claim open, or a figure out, in place of stopping all else: a run that is not there, a measurement that
cannot be made (eigenvalues that are not found, a gradient that is not finite), a number that has no logarithm or cannot
be divided by. Any other error is a mistake in the program, and surfaces."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, as a number that must lie above or below a limit.

    Args:
        text: the claim, in a sentence.
        place: where the paper says so; empty if that is not known here.
        measured: what the number is, with its unit.
        value: the number of one seed.
        side: of `limit` on which it must lie.
        limit: in the number's unit.
        published: the paper's own number; "not available" where none could be verified.
        step: the resolution of one seed's number: 1/n for an accuracy on n images, and for a difference of two. Seeds
            that agree more closely agree by chance, so the interval is never that of seeds which spread by less. Left
            out, seeds that all have one and the same number do not decide.
    """

    text: str
    place: str
    measured: str
    value: Callable[[Results, int], float]
    side: Literal["above", "below"]
    limit: float = 0.0
    published: str = "not available"
    step: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A claim with the number of each seed."""

    claim: Claim
    values: dict[int, float]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where there is no finite number for each of them."""
        values = list(self.values.values())
        return float(np.mean(values)) if values and all(map(math.isfinite, values)) else None

    @property
    def reach(self) -> float | None:
        """How far the 95 % confidence interval of the mean reaches to either side: t_{0.975, n−1} s / √n, with s the
        standard deviation of the n seeds' numbers, or the claim's `step` where that is larger; None for fewer than two.
        """
        values = list(self.values.values())
        if self.mean is None or len(values) < 2:
            return None
        from scipy.special import stdtrit

        spread = max(float(np.std(values, ddof=1)), self.claim.step)
        return float(stdtrit(len(values) - 1, 0.975)) * spread / math.sqrt(len(values))

    @property
    def holds(self) -> Verdict:
        """Yes if the whole interval lies on the claimed side of the limit, no if it lies on the other one; undecided if
        the limit is inside, for fewer than two seeds, and where seeds agree by chance.
        """
        if self.mean is None or self.reach is None or self._by_chance():
            return "undecided"
        way = 1 if self.claim.side == "above" else -1
        margin = way * (self.mean - self.claim.limit)
        return "yes" if margin > self.reach else "no" if -margin > self.reach else "undecided"

    def _by_chance(self) -> bool:
        """Whether all seeds have the same number up to rounding, not zero, and no `step` says how well it is known: a
        count, such as that of wrong test images, which the next seed may well change. Zeros are nothing to spread.
        """
        values = list(self.values.values())
        return not self.claim.step and any(values) and bool(np.ptp(values) <= 1e-9 * np.max(np.abs(values)))


@dataclass(frozen=True)
class Open:
    """A claim without an answer.

    Args:
        why: a run that is not there, or what went wrong in a measurement.
        holds: "not run", or "undecided" where everything was run.
    """

    claim: Claim
    why: str
    holds: Literal["not run", "undecided"]


class Paper(Protocol):
    """What `experiments/<bibkey>.py` holds."""

    TITLE: str
    """Authors, title, venue."""
    SEEDS: Mapping[Preset, int]
    """Seeds of each preset."""

    def runs(self, preset: Preset) -> dict[str, Run]:
        """The runs by name, each with the first seed and without `out`."""
        ...

    def claims(self, preset: Preset) -> list[Claim]:
        """What the paper says."""
        ...

    def figures(self, preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
        """The figures, by file name without ending."""
        ...


def papers() -> list[str]:
    """The bibkeys of all papers there are."""
    import experiments

    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__) if BIBKEY.fullmatch(module.name))


def paper(bibkey: str) -> Paper:
    """The module of a paper.

    Raises:
        InputError: there is none.
    """
    known = papers()
    if bibkey not in known:
        raise InputError("", InputError.ABSENT, f"no such paper: {bibkey!r}; there are {', '.join(known)}")
    return cast(Paper, importlib.import_module(f"fedsam.experiments.{bibkey}"))


def preset_of(name: str) -> Preset:
    """A preset by its name.

    Raises:
        InputError: there is none.
    """
    for preset in PRESETS:
        if preset == name:
            return preset
    raise InputError("--preset", name, f"must be one of {', '.join(PRESETS)}")
