"""Commands that carry out many runs to answer one question. Heavy modules are imported where a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsam.cli.options import Address, Debug, Json, Keys, Quiet, Trust, Workers


def tune(
    settings: Keys = None,
    search: Annotated[str, typer.Option(help="tpe, random, or grid")] = "tpe",
    trials: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="settings to try", show_default="40; for a grid all points")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="of a trial", show_default="the key rounds")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="with which the best settings are trained anew")] = 3,
    workers: Annotated[int, typer.Option(min=0, max=10_000, help="trials at a time; 0 = one for each GPU or core")] = 1,
    grace: Annotated[
        int | None, typer.Option(min=1, help="rounds that every trial is given", show_default="a tenth")
    ] = None,
    address: Address = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="where to", show_default="runs/tune-*")] = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for the best settings on held-out training data, then train and test these once; goes on if started again.

    Ranges are key=a..b or key=log:a..b, choices key=a,b; for a grid key=a..b/points.

    For example: fedsam tune client.name=sam client.rho=log:1e-3..1 client.lr=log:1e-3..0.3 --trials 40 --rounds 100
    """
    from fedsam.cli.keys import parse
    from fedsam.tune.command import run as run_tune

    asked = {"search": search, "trials": trials, "rounds": rounds, "seeds": seeds, "workers": workers, "grace": grace}
    run_tune(parse(settings or []), out, address, quiet, as_json, **asked)


def check(settings: Keys = None, trust: Trust = False, as_json: Json = False, debug: Debug = False) -> None:
    """Build everything of a run and train one round for nothing: data, model, engine, kernels, memory, traffic, time.

    One step is also trained in plain torch, on the model as its maker returns it; if loss or gradient differ by more
    than rounding, the exit status is 1. Nothing is written.

    For example: fedsam check model.name=my_models:net data.alpha=0.1 client.name=sam
    """
    from fedsam.cli.keys import parse
    from fedsam.run import Run

    run = Run.from_keys(parse(settings or []))
    from fedsam.check.command import report
    from fedsam.runs.progress import Progress

    with Progress(quiet=True):
        report(run, as_json)


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
    from fedsam.reproduce.command import reproduce as command

    command(bibkey, preset, seeds, only, out, 0 if workers is None and address else workers, address, quiet, as_json)
