"""`fedsam reproduce`: a paper's claims, put to runs of our own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedsam.cli.options import Address, Debug, Json, Quiet, Trust, Workers
from fedsam.errors import RunError


def reproduce(
    bibkey: Annotated[str, typer.Argument(metavar="BIBKEY", help="the paper, such as zhou2025", show_default=False)],
    only: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="train only runs whose names match", show_default=False)
    ] = None,
    preset: Annotated[str, typer.Option(help="scale: cpu, gpu or paper")] = "cpu",
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="of each run", show_default="the preset's")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where to", show_default="results/BIBKEY/PRESET")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a paper's claims to runs of our own; started again, it does what is missing.

    For example: fedsam reproduce zhou2025 --preset cpu
    """
    from fedsam.reproduce.base import paper, preset_of

    chosen, module = preset_of(preset), paper(bibkey)
    place = out or Path("results") / bibkey / chosen
    from fedsam.reproduce.carry_out import carry_out
    from fedsam.reproduce.write import rows, show, write
    from fedsam.runs.progress import Progress, graceful
    from fedsam.storage.lock import locked

    def tell(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr)

    with locked(place), graceful() as stop, Progress(quiet) as progress:
        outcome = carry_out(
            bibkey,
            module,
            chosen,
            seeds or module.SEEDS[chosen],
            place,
            progress,
            only=only,
            stop=stop,
            workers=workers,
            address=address,
            tell=lambda line: tell(f"measuring: {line}"),
        )
        write(outcome, module, tell)
    if as_json:
        print(json.dumps(rows(outcome)))
    else:
        show(outcome)
    if outcome.failures:
        few = "; ".join(outcome.failures[:3])
        raise RunError(f"{len(outcome.failures)} runs failed: {few}; what the others gave is in {place}")
