"""The size that images are brought to, as a key."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from fedsam.errors import InputError

LARGEST = 8192


def _as_text(given: Any) -> Any:
    """A number, or height and width of a list, as they are written on a command line."""
    if isinstance(given, bool):
        return given
    if isinstance(given, list | tuple):
        return "x".join(map(str, given))
    return str(given) if isinstance(given, int) else given


Size = Annotated[str, BeforeValidator(_as_text)]
"""`224`, or height and width: `512x1024`; empty = as they are."""


def side_lengths(given: str) -> tuple[int, int] | None:
    """Height and width; None for as they are.

    Raises:
        InputError: under "size": it is no size.
    """
    if not given:
        return None
    form = re.fullmatch(r"\s*([0-9]{1,5})\s*(?:[x×*]\s*([0-9]{1,5})\s*)?", given)
    sides = (int(form[1]), int(form[2] or form[1])) if form else (0, 0)
    if not all(1 <= side <= LARGEST for side in sides):
        raise InputError("size", given, f"must be N, or HEIGHTxWIDTH such as 512x1024, each from 1 to {LARGEST}")
    return sides
