"""Packages that come with an extra of fedsam, imported where something of theirs is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from fedsam.errors import InputError

EXTRAS = {
    "datasets": "hub",
    "dp_accounting": "privacy",
    "flwr_datasets": "partitioners",
    "mlflow": "trackers",
    "peft": "adapters",
    "sacrebleu": "text",
    "tensorboard": "trackers",
    "timm": "vision",
    "torchmetrics": "metrics",
    "transformers": "adapters",
    "wandb": "trackers",
}
"""Which extra each package comes with."""


def needed(package: str, key: str, given: Any, part: str = "") -> Any:
    """A package that is not part of the plain installation.

    Args:
        package: as it is imported.
        key: that asks for it, and `given`, what it says.
        part: a module of it; none = the package itself.

    Raises:
        InputError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(f"{package}.{part}" if part else package)
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == package else f" ({error})"
        told = f"needs the package {package.replace('_', '-')}{why}; pip install 'fedsam[{EXTRAS[package]}]'"
        raise InputError(key, given, told) from None


def no_such(given: str, prefix: str, what: str, known: Iterable[str]) -> InputError:
    """The error that a library has nothing of this name, with what comes closest.

    Args:
        given: the name after the colon.
        prefix: what stands before it.
        what: the library has none of, and how many there are to choose from.
        known: what there is.
    """
    by_small = {name.lower(): name for name in known}
    close = get_close_matches(given.lower(), by_small, n=1)
    hint = f"; did you mean {prefix}:{by_small[close[0]]}?" if close else f"; there are {', '.join(by_small.values())}"
    return InputError("name", f"{prefix}:{given}", f"{what}{hint}")
