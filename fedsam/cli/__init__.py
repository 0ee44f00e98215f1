"""The command line: `app` and one file a command; `options`, `settings`, `streams` and `ending` are what they share."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run a command; the commands are imported here, so that `fedsam.cli` itself costs nothing."""
    from fedsam.cli.app import main as run

    run(arguments)
