"""`fedsam run`: one simulation."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fedsam.cli.options import Debug, Json, Keys, Out, Quiet, Trust
from fedsam.cli.settings import parse
from fedsam.errors import InputError
from fedsam.storage.paths import expanded


def run(
    settings: Keys = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="continue the run in this directory", show_default=False)
    ] = None,
    out: Out = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run one simulation.

    For example: fedsam run client.name=asam client.rho=0.5 data.alpha=0.05 rounds=100
    """
    if resume and out:
        raise InputError("", InputError.ABSENT, "--resume continues a run where it lies; leave out --out")
    if resume and settings:
        raise InputError(
            "",
            InputError.ABSENT,
            f"--resume continues a run as it was described; leave out {settings[0]!r}, or start a new run",
        )
    given = parse(settings or []) | ({"out": str(expanded(str(out), "out"))} if out else {})
    from fedsam.run import Run

    described = None if resume else Run.from_keys(given)
    from fedsam.jobs.simulate import resume as go_on
    from fedsam.jobs.simulate import simulate
    from fedsam.runs.directory import fresh
    from fedsam.runs.progress import graceful, show_result

    with graceful() as stop:
        if resume:
            result = go_on(resume, stop=stop, quiet=quiet)
        else:
            assert described is not None
            named = described.out and Path(described.out)
            with nullcontext(named) if named else fresh(Path("runs"), described.title()) as place:
                result = simulate(described.replace(out=str(place)), stop=stop, quiet=quiet)
    if result.out:
        from fedsam.reports.write import write_report

        write_report([result.out], result.out / "report.html")
    if as_json:
        print(json.dumps(result.summary()))
    else:
        show_result(result)
