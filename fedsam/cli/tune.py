"""`fedsam tune`: a search for the best settings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fedsam.cli.options import Address, Debug, Json, Keys, Out, Quiet, Trust
from fedsam.cli.settings import parse


def tune(
    settings: Keys = None,
    search: Annotated[str, typer.Option(help="tpe, random, or grid")] = "tpe",
    trials: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="settings to try", show_default="40; for a grid all points")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="of a trial", show_default="the key rounds")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="with which the best settings are trained anew")] = 3,
    workers: Annotated[
        int, typer.Option(min=0, max=10_000, help="trials at a time, more than 1 by Ray; 0 = one for each GPU or core")
    ] = 1,
    grace: Annotated[
        int | None, typer.Option(min=1, help="rounds that every trial is given", show_default="a tenth")
    ] = None,
    address: Address = None,
    out: Out = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for the best settings on held-out training data, then train and test these once; goes on if started again.

    Ranges are key=a..b or key=log:a..b, choices key=a,b; for a grid key=a..b/points.

    For example: fedsam tune client.name=sam client.rho=log:1e-3..1 client.lr=log:1e-3..0.3 --trials 40 --rounds 100
    """
    given = parse(settings or [])
    from fedsam.jobs.tune import tune as carry_out
    from fedsam.runs.progress import graceful
    from fedsam.tuning.show import show

    asked: dict[str, Any] = {"search": search, "trials": trials, "rounds": rounds, "seeds": seeds, "grace": grace}
    with graceful() as stop:
        found = carry_out(None, given, **asked, workers=workers, address=address, out=out, quiet=quiet, stop=stop)
    if as_json:
        print(json.dumps(found.summary()))
    else:
        show(found)
