"""`fedsam sweep`: every combination of keys with several values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsam.cli.options import Address, Debug, Json, Keys, Quiet, Seeds, Trust, Workers
from fedsam.cli.settings import parse


def sweep(
    settings: Keys = None,
    seeds: Seeds = 3,
    workers: Workers = None,
    address: Address = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="train every run by itself, also those that differ only in numbers")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Every combination of keys with several values, paired over seeds; started again, it does what is missing.

    For example: fedsam sweep client.name=sgd,sam,asam data.alpha=0,0.1,1,100 --workers 0
    """
    given = {"engine.threads": "1", **parse(settings or [])}
    out = given.pop("out", None)
    from fedsam.runs.progress import Progress, graceful
    from fedsam.sweeps import grid
    from fedsam.sweeps.compare import compare as compare_runs
    from fedsam.sweeps.compare import show
    from fedsam.sweeps.sweep import default_out

    runs = grid.settings(given)
    place = Path(out) if out else default_out(runs, seeds)
    at_once = 0 if workers is None and address else workers
    with graceful() as stop, Progress(quiet) as progress:
        comparison = compare_runs(runs, seeds, progress, stop, out=place, workers=at_once, address=address, apart=apart)
    if as_json:
        print(json.dumps(comparison.rows()))
    else:
        show(comparison)
