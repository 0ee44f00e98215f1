"""`fedsam geometry`: how flat the loss is around a run's model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedsam.cli.options import Debug, Json, Quiet, Trust


def geometry(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="a run directory", show_default=False)],
    images: Annotated[int, typer.Option(min=1, help="training images on which the loss is measured")] = 1000,
    clients: Annotated[int, typer.Option(min=0, help="clients that are looked at one by one")] = 5,
    surface: Annotated[int, typer.Option(min=0, help="points along each side of the loss surfaces; 0 = none")] = 21,
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
    from fedsam.flatness.study import Settings, study
    from fedsam.reports.write import write_report
    from fedsam.runs.directory import RunDirectory

    settings = Settings(images=images, clients=clients, surface=surface, plane=surface, hours=hours)
    found = study(run_dir, settings, (lambda part: None) if quiet else _tell, to)
    page = write_report([run_dir], run_dir / "report.html")
    if as_json:
        print(json.dumps(found))
    else:
        show(found, RunDirectory.open(run_dir)[1].learnt.score, run_dir, page)


def _tell(part: str) -> None:
    print(f"measuring: {part}", file=sys.stderr)
