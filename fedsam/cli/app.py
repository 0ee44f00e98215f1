"""The commands in their order, and what is done around each of them.

A command is a function in a file of its own that imports what is heavy inside, so that `fedsam --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from fedsam import __version__
from fedsam.cli import streams
from fedsam.cli.bench import bench
from fedsam.cli.check import check
from fedsam.cli.compare import compare
from fedsam.cli.doctor import doctor
from fedsam.cli.ending import carry_out
from fedsam.cli.geometry import geometry
from fedsam.cli.keys import keys
from fedsam.cli.options import Command
from fedsam.cli.partition import partition
from fedsam.cli.report import report
from fedsam.cli.reproduce import reproduce
from fedsam.cli.run import run
from fedsam.cli.study import study
from fedsam.cli.sweep import sweep
from fedsam.cli.tune import tune

app = typer.Typer(
    no_args_is_help=True,
    suggest_commands=False,  # click has begun to do so itself
    context_settings={"help_option_names": ["-h", "--help"]},
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


COMMANDS: dict[Callable[..., None], str] = {
    run: "one simulation",
    compare: "settings side by side, on the same data",
    sweep: "every combination of keys with several values",
    check: "build a run's parts and train one round, for nothing",
    tune: "search for the best settings, then test them",
    reproduce: "put a paper's claims to runs of our own",
    partition: "how the data are divided among the clients",
    geometry: "how flat the loss is around a run's model",
    report: "what run directories hold, as one HTML file",
    keys: "every key of a run, or those of a group or word",
    doctor: "what is installed, and what works here",
    bench: "speed, as a ratio to something measured beside it",
}
"""Each with what the list of commands says of it, where there is room for no more."""

for command, brief in COMMANDS.items():
    app.command(cls=Command, short_help=brief)(command)
app.add_typer(study, name="study", short_help="sweeps that answer one question")


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error is one line on standard error and a non-zero exit status (2 for bad input)."""
    streams.fit()
    _name_what_is_imported()
    words = sys.argv[1:] if arguments is None else arguments
    if "_FEDSAM_COMPLETE" in os.environ or words[:1] in (["--install-completion"], ["--show-completion"]):
        app(words, prog_name="fedsam")  # typer answers the shell, and ends the process
    carry_out(app, words)


def _name_what_is_imported() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    notes = logging.getLogger("fedsam.border.foreign")
    notes.handlers, notes.propagate = [handler], False
    notes.setLevel(logging.INFO)


if __name__ == "__main__":
    main()
