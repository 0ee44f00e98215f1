"""Paths as a person writes them."""

from __future__ import annotations

import os
from pathlib import Path

from fedsam.errors import InputError


def expanded(path: str | Path, key: str) -> Path:
    """The path, with `~` at its beginning replaced by the home directory.

    Raises:
        InputError: under `key`: it is not known where that is.
    """
    try:
        return native(path).expanduser()
    except RuntimeError:
        home = Path(path).parts[0]
        raise InputError(key, str(path), f"there is no home directory for {home}; give a path without it") from None


def native(path: str | Path) -> Path:
    """The path as Python names files here: where the locale knows ASCII alone, other letters stand for UTF-8 bytes."""
    return Path(os.fsdecode(str(path).encode("utf-8", "surrogateescape")))
