"""`fedsam geometry`: how flat the loss is around a run's model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsam.cli.options import Debug, Json, Quiet, Trust


def geometry(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="a run directory", show_default=False)],
    images: Annotated[int, typer.Option(min=1, help="training images on which the loss is measured")] = 1000,
    clients: Annotated[int, typer.Option(min=0, help="clients that are looked at one by one")] = 5,
    surface: Annotated[int, typer.Option(min=0, help="points along each side of the loss surfaces; 0 = none")] = 21,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="evaluate surfaces in bf16, which is quicker, and tell the error")
    ] = False,
    hours: Annotated[float, typer.Option(min=0.0, help="refuse a part that would take longer than this")] = 24.0,
    to: Annotated[
        Path | None,
        typer.Option(metavar="RUN_DIR", help="another run: also the line to its model", show_default=False),
    ] = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how flat the loss is around a run's model: Hessian, sharpness, weight noise, loss surfaces.

    Writes geometry.json into the run directory and renews its report. For example: fedsam geometry runs/demo
    """
    from fedsam.flatness.show import show
    from fedsam.jobs.geometry import geometry as measure

    asked: dict[str, Any] = {"images": images, "clients": clients, "surface": surface, "bf16": bf16, "hours": hours}
    measured = measure(run_dir, **asked, to=to, quiet=quiet)
    if as_json:
        print(json.dumps(measured.found))
    else:
        show(measured.found, measured.score, run_dir, measured.page)
