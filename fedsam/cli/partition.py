"""`fedsam partition`: how a data set is divided among the clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsam.border.foreign import no_imports
from fedsam.cli.options import Debug, Json, Keys, file_to_write
from fedsam.cli.settings import parse

if TYPE_CHECKING:
    from fedsam.run import Run


def partition(
    settings: Keys = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="where to draw the label distribution", show_default="runs/partition-*.png"),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how a data set is divided among the clients: sizes, classes, divergence, and a figure.

    For example: fedsam partition data.partition=dirichlet data.alpha=0.1 data.clients=20
    """
    run = _divided(settings or [])
    given = None if figure is None else file_to_write("--figure", figure)
    from fedsam.jobs.partition import partition as divide
    from fedsam.runs.progress import show_facts

    division = divide(run)
    path = division.save(given)
    if as_json:
        print(json.dumps(division.summary()))
    else:
        show_facts({**division.facts(), "figure": str(path)})


def _divided(arguments: list[str]) -> Run:
    """A run of which only the data count: nothing else of it is imported, and of the data what was typed."""
    keys = {"cohort": 1, **parse(arguments)}
    others = {name.partition(".")[0] for name, value in keys.items() if name.endswith(".name") and ":" in str(value)}
    own = {name: value for name, value in keys.items() if name.partition(".")[0] not in others - {"data"}}
    typed = parse([word for word in arguments if "=" in word])
    but = [value for name, value in typed.items() if name.startswith("data.")]
    from fedsam.run import Run

    with no_imports("it stands in a file; to see how such data are divided give it on the command line", but):
        return Run.from_keys(own)
