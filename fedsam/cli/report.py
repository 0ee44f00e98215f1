"""`fedsam report`: what run directories hold, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsam.border.foreign import no_imports
from fedsam.cli.options import Debug, file_to_write


def report(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="run directories, or folders of some", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="HTML", help="where to", show_default="report.html in the first one")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="also write the figures as PNG, SVG and PDF", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Write what run directories hold as one HTML file to open in a browser.

    For example: fedsam report runs/compare-digits --figures figures
    """
    from fedsam.jobs.report import report as write

    page = None if out is None else file_to_write("--out", out)
    with no_imports("a report imports nothing"):
        print(write(run_dirs, page, figures).path)
