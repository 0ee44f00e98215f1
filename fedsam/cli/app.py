"""The commands. Heavy modules are imported where a command needs them, so that `fedsam --help` answers at once."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsam import __version__
from fedsam.border.foreign import no_imports
from fedsam.cli import streams
from fedsam.cli.commands import check, reproduce, tune
from fedsam.cli.ending import carry_out
from fedsam.cli.keys import parse
from fedsam.cli.options import Address, Debug, Json, Keys, Quiet, Trust, Workers, file_to_write
from fedsam.errors import InputError
from fedsam.sweeps.study_command import study

MANY = 1000  # seeds

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Simulate federated learning with sharpness-aware clients and server-side weight averaging.\n\n"
    "A run is described by key=value pairs; `fedsam keys` lists them all.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedsam {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    settings: Keys = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="continue the run in this directory", show_default=False)
    ] = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run one simulation.

    For example: fedsam run client.name=asam client.rho=0.5 data.alpha=0.05 rounds=100
    """
    if resume and settings:
        raise InputError(
            "",
            InputError.ABSENT,
            f"--resume continues a run as it was described; leave out {settings[0]!r}, or start a new run",
        )
    described = None if resume else _describe(settings or [])
    from fedsam.federated.simulate import resume as resume_run
    from fedsam.federated.simulate import simulate
    from fedsam.runs.directory import fresh
    from fedsam.runs.progress import Progress, graceful, show_result

    with graceful() as stop, Progress(quiet) as progress:
        if resume:
            result = resume_run(resume, progress, stop)
        else:
            assert described is not None
            named = described.out and Path(described.out)
            with nullcontext(named) if named else fresh(Path("runs"), described.title()) as out:
                result = simulate(described.replace(out=str(out)), progress, stop)
    if result.out:
        from fedsam.report.write import write_report

        write_report([result.out], result.out / "report.html")
    if as_json:
        print(json.dumps(result.summary()))
    else:
        show_result(result)


@app.command()
def compare(
    settings: Keys = None,
    seeds: Annotated[int, typer.Option(min=1, max=MANY, help="runs of each setting, with seeds from `seed` on")] = 3,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Settings side by side, on the same partitions and client draws: every combination of keys with several values.

    For example: fedsam compare client.name=sgd,sam,asam average.name=none,swa rounds=100

    Where no key has several values, FedAvg, FedSAM, FedASAM and FedASAM with SWA, to all of which the settings apply.
    For example: fedsam compare data.alpha=0.5 rounds=50
    """
    given = parse(settings or [])
    from fedsam.experiments.digits import settings as demonstration
    from fedsam.runs.progress import Progress, graceful
    from fedsam.sweeps import grid
    from fedsam.sweeps.compare import compare as compare_runs
    from fedsam.sweeps.compare import show

    runs = grid.settings(given) if grid.is_grid(given) else demonstration(given)
    with graceful() as stop, Progress(quiet) as progress:
        comparison = compare_runs(runs, seeds, progress, stop)
    if as_json:
        print(json.dumps(comparison.rows()))
    else:
        show(comparison)


@app.command()
def sweep(
    settings: Keys = None,
    seeds: Annotated[int, typer.Option(min=1, max=MANY, help="runs of each setting, with seeds from `seed` on")] = 3,
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


app.command()(check)
app.command()(tune)
app.add_typer(study, name="study")
app.command()(reproduce)


@app.command()
def partition(
    settings: Keys = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="where to draw the label distribution", show_default="runs/partition-*.png"),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how a data set is divided among the clients: sizes, classes, divergence, and a figure.

    For example: fedsam partition data.partition=dirichlet data.alpha=0.1 data.clients=20
    """
    described = _divided(settings or [])
    from fedsam.cli.partition import report

    report(described, None if figure is None else file_to_write("--figure", figure), as_json)


@app.command()
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
    from fedsam.geometry.show import show
    from fedsam.geometry.study import Settings, study
    from fedsam.report.write import write_report
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


@app.command()
def report(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="run directories, or folders of some", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="HTML", help="where to", show_default="report.html in the first one")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="also write the figures as PNG and SVG", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Write what run directories hold as one HTML file to open in a browser.

    For example: fedsam report runs/compare-digits --figures figures
    """
    from fedsam.report.write import write_report

    page = run_dirs[0] / "report.html" if out is None else file_to_write("--out", out)
    with no_imports("a report imports nothing"):
        print(write_report(run_dirs, page, figures=figures))


@app.command()
def keys(as_json: Json = False, debug: Debug = False) -> None:
    """List every key of a run: default, what is allowed, what it does, and where the default comes from."""
    from fedsam.runs.progress import show_keys

    show_keys(as_json)


@app.command()
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


def _describe(arguments: list[str]) -> Any:
    keys = parse(arguments)
    from fedsam.run import Run

    return Run.from_keys(keys)


def _divided(arguments: list[str]) -> Any:
    """A run of which only the data count: nothing else of it is imported, and of the data what was typed."""
    keys = {"cohort": 1, **parse(arguments)}
    others = {name.partition(".")[0] for name, value in keys.items() if name.endswith(".name") and ":" in str(value)}
    own = {name: value for name, value in keys.items() if name.partition(".")[0] not in others - {"data"}}
    typed = parse([word for word in arguments if "=" in word])
    but = [value for name, value in typed.items() if name.startswith("data.")]
    from fedsam.run import Run

    with no_imports("it stands in a file; to see how such data are divided give it on the command line", but):
        return Run.from_keys(own)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error is one line on standard error and a non-zero exit status (2 for bad input)."""
    streams.fit()
    _name_what_is_imported()
    carry_out(app, sys.argv[1:] if arguments is None else arguments)


def _name_what_is_imported() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    notes = logging.getLogger("fedsam.border.foreign")
    notes.handlers, notes.propagate = [handler], False
    notes.setLevel(logging.INFO)


if __name__ == "__main__":
    main()
