"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import typer
import typer.core

from fedsam.border.foreign import trust
from fedsam.cli import completion
from fedsam.errors import InputError


class Command(typer.core.TyperCommand):
    """A command whose help has no backslashes, which typer puts before brackets for a format that is not used."""

    def get_help(self, ctx: click.Context) -> str:
        """As typer's."""
        return super().get_help(ctx).replace("\\[", "[")


Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE.toml] [KEY=VALUE]...",
        help="settings; later ones win",
        show_default=False,
        autocompletion=completion.settings,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON as the only thing on standard output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=trust,
        is_eager=True,
        help="use run directories and files of other users, which can name code that then runs as you",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="runs of each setting, with seeds from `seed` on")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, max=10_000, help="runs at a time, as Ray tasks; 0 = one for each core or GPU", show_default="in turn"
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="where to, as out=DIR", show_default="a folder under runs/", file_okay=False),
]
Address = Annotated[str | None, typer.Option(help="of a Ray cluster to join: host:port, or auto", show_default=False)]


def file_to_write(option: str, path: Path) -> Path:
    """The path of a file that can be there, or is.

    Raises:
        InputError: it is a folder, or no name at all.
    """
    if not path.name or path.is_dir():
        raise InputError(option, str(path), "is a folder, must be the name of a file")
    return path
