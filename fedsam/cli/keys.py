"""`fedsam keys`: every key of a run."""

from __future__ import annotations

from fedsam.cli.options import Debug, Json


def keys(as_json: Json = False, debug: Debug = False) -> None:
    """List every key of a run: default, what is allowed, what it does, and where the default comes from."""
    from fedsam.runs.progress import show_keys

    show_keys(as_json)
