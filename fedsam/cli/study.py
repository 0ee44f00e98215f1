"""`fedsam study`: studies, each a command of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from fedsam.cli.options import Address, Command, Debug, Json, Keys, Out, Quiet, Seeds, Trust, Workers
from fedsam.cli.settings import parse

study = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Studies: sweeps that answer one question.")


def heterogeneity(
    settings: Keys = None,
    seeds: Seeds = 3,
    workers: Workers = None,
    address: Address = None,
    out: Out = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MEASURE", help="js, emd, gini, classes, or a key of the data", show_default="by what differs"
        ),
    ] = None,
    hessian: Annotated[
        bool, typer.Option("--hessian", help="also the largest eigenvalue of the Hessian at the end of each run")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """How unlike clients may be: accuracy against their measured divergence, a line for each method.

    Without settings SGD, SAM and ASAM on the digits at five values of data.alpha; every key can be given, also several
    values of it. Started again, it does what is missing.

    For example: fedsam study heterogeneity data.partition=shards data.shards_per_client=1,2,5 --workers 0
    """
    from fedsam.jobs.study import heterogeneity as carry_out
    from fedsam.runs.progress import graceful
    from fedsam.sweeps.studies import show

    given = parse(settings or [])
    asked: dict[str, Any] = {"seeds": seeds, "workers": workers, "address": address, "out": out}
    with graceful() as stop:
        found = carry_out(None, given, **asked, against=against, hessian=hessian, quiet=quiet, stop=stop)
    if as_json:
        print(json.dumps(found.rows()))
    else:
        show(found)


def methods(
    settings: Keys = None,
    seeds: Seeds = 3,
    trials: Annotated[int, typer.Option(min=1, max=1000, help="values of its own keys tried of each method")] = 4,
    target: Annotated[
        float | None,
        typer.Option(help="of which rounds and bytes are counted", show_default="what the first method ends at"),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    out: Out = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Which method, for what: every strategy with every client optimiser, searched alike, in one table and one figure.

    Each pair gets the same number of trials of its own keys, judged on held-out examples; the best is trained anew.
    server.name and client.name may be given with the names to compare, every other key is of all runs. Pairs without a
    meaning are left out, and why is said. Started again, it does what is missing.

    For example: fedsam study methods server.name=fedavg,scaffold client.name=sgd,sam,asam --trials 6
    """
    from fedsam.jobs.study import methods as carry_out
    from fedsam.runs.progress import graceful
    from fedsam.sweeps.method_files import show

    given = parse(settings or [])
    asked: dict[str, Any] = {"seeds": seeds, "trials": trials, "target": target, "workers": workers}
    with graceful() as stop:
        found = carry_out(None, given, **asked, address=address, out=out, quiet=quiet, stop=stop)
    if as_json:
        print(json.dumps(found.rows()))
    else:
        show(found)


STUDIES: dict[Callable[..., None], str] = {
    heterogeneity: "how unlike clients may be",
    methods: "which strategy with which client optimiser, for what",
}
"""Each with what the list of studies says of it."""

for command, brief in STUDIES.items():
    study.command(cls=Command, short_help=brief)(command)
