"""`fedsam sweep`: every combination of keys with several values."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fedsam.cli.options import Address, Debug, Json, Keys, Out, Quiet, Seeds, Trust, Workers
from fedsam.cli.settings import parse


def sweep(
    settings: Keys = None,
    seeds: Seeds = 3,
    workers: Workers = None,
    address: Address = None,
    out: Out = None,
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
    given = parse(settings or [])
    from fedsam.jobs.sweep import sweep as carry_out
    from fedsam.runs.progress import graceful
    from fedsam.sweeps.compare import show

    with graceful() as stop:
        comparison = carry_out(
            None, given, seeds=seeds, workers=workers, address=address, apart=apart, out=out, quiet=quiet, stop=stop
        )
    if as_json:
        print(json.dumps(comparison.rows()))
    else:
        show(comparison)
