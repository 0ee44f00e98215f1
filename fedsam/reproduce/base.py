"""What a paper's module is. Here is how to write one.

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
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, cast

from fedsam.errors import InputError
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.results import Results
from fedsam.run import Run

Preset = Literal["cpu", "gpu", "paper"]
PRESETS: tuple[Preset, ...] = ("cpu", "gpu", "paper")
BIBKEY = re.compile(r"[a-z]+(?:19|20)\d\d[a-z]?")


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
