"""`fedsam bench`: speed, as a ratio."""

from __future__ import annotations

from typing import Annotated

import typer

from fedsam.cli.options import Debug, Json


def bench(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="which; without it they are listed", show_default=False)
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="measured rounds of each variant")] = 7,
    versus: Annotated[bool, typer.Option("--versus", help="also stock Flower and, if installed, pfl-research")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure speed, as a ratio to something measured in alternation in the same run."""
    from fedsam.bench import measure

    measure(name, rounds, as_json, versus)
