"""Runs as settings: those that differ only in their seed are one, named by the keys in which settings differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsam.measure.score import Score
from fedsam.reports.marks import DASHES
from fedsam.reports.palette import COLOURS
from fedsam.reports.read import Loaded
from fedsam.reports.words import described, readable

ASIDE = ("seed", "out")
LONGEST = 60  # characters of a name


@dataclass(frozen=True)
class Setting:
    """One setting: its name, the colour and dash it has in every figure, and its runs by seed."""

    name: str
    colour: str
    dash: str
    runs: dict[int, Loaded]

    @property
    def scores(self) -> Sequence[Score]:
        """How what its runs recorded is told: the metric that they are judged by, the loss, and others."""
        return next(iter(self.runs.values())).scores

    @property
    def keys(self) -> dict[str, Any]:
        """Every key but seed and out."""
        return shared_keys(next(iter(self.runs.values())))


def shared_keys(run: Loaded) -> dict[str, Any]:
    """A run's keys but seed and out."""
    return {key: value for key, value in run.keys.items() if key not in ASIDE}


def group(runs: Sequence[Loaded]) -> tuple[list[Setting], list[str]]:
    """Settings in the order of their first run, and one line for each run that is there twice.

    A setting has the name that its comparison gave it; else the keys in which it differs from others, or with nothing
    to differ from its client, server and average.
    """
    grouped: dict[str, dict[int, Loaded]] = {}
    twice = []
    for run in runs:
        by_seed = grouped.setdefault(json.dumps(shared_keys(run), sort_keys=True), {})
        if run.seed in by_seed:
            twice.append(f"{run.path}: has the settings and the seed of {by_seed[run.seed].path}")
        else:
            by_seed[run.seed] = run
    firsts = [next(iter(by_seed.values())) for by_seed in grouped.values()]
    keys = differing([shared_keys(run) for run in firsts])
    names = [
        _given(by_seed) or described(run.keys, keys) for by_seed, run in zip(grouped.values(), firsts, strict=True)
    ]
    often = Counter(names)
    names = [
        f"{name} ({described(run.keys, keys)})" if often[name] > 1 else name
        for name, run in zip(names, firsts, strict=True)
    ]
    settings = [
        Setting(
            name,
            COLOURS[number % len(COLOURS)],
            DASHES[number // len(COLOURS) % len(DASHES)],
            dict(sorted(by_seed.items())),
        )
        for number, (name, by_seed) in enumerate(zip(_unlike(names), grouped.values(), strict=True))
    ]
    return settings, twice


def differing(descriptions: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that do not have one value in all, in the order of the first description."""
    every = dict.fromkeys(key for keys in descriptions for key in keys)
    return [key for key in every if len({json.dumps(keys.get(key, "")) for keys in descriptions}) > 1]


def _given(by_seed: dict[int, Loaded]) -> str | None:
    names = {run.setting for run in by_seed.values()}
    given = names.pop() if len(names) == 1 else None
    return given and readable(given)


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, shortened, and numbered where that makes two alike."""
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    often = Counter(short)
    return [f"{name} [{number}]" if often[name] > 1 else name for number, name in enumerate(short, 1)]
