"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE.toml] [KEY=VALUE]...", help="settings; later ones win", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON as the only thing on standard output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
