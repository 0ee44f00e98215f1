"""Several settings from one description: keys with several values, in every combination.

`client.name=sgd,sam client.rho=0.1,0.3` is three settings: `sgd`, which has no rho, and `sam` with either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from fedsam.border.budget import must_be_few
from fedsam.config import find, owned_keys, root_of
from fedsam.errors import InputError, under
from fedsam.run import Run

LISTS = "track.name", "callbacks", "metrics", "task.extra_metrics"
"""Keys whose value may have commas in it."""
ALONE = "as given"
"""The name of a setting beside which there is no other."""


def split(text: str) -> list[str]:
    """The parts of a value between its commas, but for those inside brackets.

    >>> split("sgd, sam"), split("[1,2],[3]")
    (['sgd', 'sam'], ['[1,2]', '[3]'])
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def is_grid(keys: Mapping[str, Any]) -> bool:
    """Whether a key has several values."""
    return any(len(values(value, name)) > 1 for name, value in keys.items())


def values(value: Any, name: str = "") -> list[Any]:
    """The values of a key: those of a list, or between the commas of a text.

    Args:
        name: of the key; one of those whose value is a list itself has one value.
    """
    if name in LISTS and isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    return list(split(value)) if isinstance(value, str) else [value]


def settings(keys: Mapping[str, Any]) -> dict[str, Run]:
    """A run for every combination of the keys' values, by a name made of the keys that differ, in the keys' order.

    A key that the chosen parts of a combination do not have is left out of it, if another combination has it; what is
    then the same setting is there once.

    Raises:
        InputError: a value is empty, there are too many combinations, none of them has a key, or one cannot run.
    """
    choices = {name: values(value, name) for name, value in keys.items()}
    empty = next((name for name, found in choices.items() if not found or "" in found), None)
    if empty is not None:
        raise InputError(empty, keys[empty], "one of its values is empty")
    varied = [name for name, found in choices.items() if len(found) > 1]
    longest = max(choices, key=lambda name: len(choices[name]), default="")
    must_be_few(longest, keys.get(longest), math.prod(map(len, choices.values())), "settings")
    found: dict[str, Run] = {}
    used: set[str] = set()
    for combination in itertools.product(*choices.values()):
        own = understood(dict(zip(choices, combination, strict=True)))
        used |= set(own)
        name = " ".join(f"{key}={own[key]}" for key in varied if key in own) or ALONE
        if name not in found:
            found[name] = Run.from_keys(own)
    unused = next((name for name in keys if name not in used), None)
    if unused is not None:
        Run.from_keys(dict(zip(choices, (found[0] for found in choices.values()), strict=True)))
        raise InputError(unused, keys[unused], "no setting has this key")
    return found


def understood(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that the chosen parts have; unknown groups and names are left for `Run` to refuse."""
    found = dict(keys)
    for group, info in Run.model_fields.items():
        root = root_of(info)
        own = {name.partition(".")[2]: value for name, value in keys.items() if name.startswith(f"{group}.")}
        if root is None or not own:
            continue
        with under(group):
            part = find(root, str(own.pop("name", info.default)))
        owned = owned_keys(part, own)
        for name in own:
            if name not in owned:
                del found[f"{group}.{name}"]
    return found
