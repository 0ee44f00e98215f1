"""The command line: one file a command."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run a command; the commands are imported here, so that `fedsam.cli` itself costs nothing."""
    from fedsam.cli.app import main as run

    run(arguments)
