"""Completion of settings in a shell: keys, and the values of those that have a few.

What there is to complete stands in a file that `make format` writes, for importing the components takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import escape, glob
from importlib import resources

import typer

FILE = "completion.txt"


def known() -> dict[str, list[str]]:
    """Every key, with the values it can have where these are words, else its default if it has one."""
    lines = resources.files("fedsam.cli").joinpath(FILE).read_text(encoding="utf-8").splitlines()
    return {key: values for key, *values in (line.split("\t") for line in lines if line[:1] not in ("", "#"))}


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """As typer asks, for the words of a command that are settings."""
    return offered(ctx.params.get("settings") or [], incomplete)


def offered(before: Sequence[str], incomplete: str) -> list[str]:
    """What can stand in place of the word that is being typed: keys with their `=`, or a key's values.

    bash takes `client.name=asam` for three words, and click a word `=` for an empty one.

    Args:
        before: the words before it.
        incomplete: the word so far.
    """
    keys = known()
    if not incomplete and before and before[-1] in keys:
        return keys[before[-1]]
    if len(before) > 1 and before[-1] == "=":
        return values(keys.get(before[-2], []), incomplete)
    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={each}" for each in values(keys.get(key, []), value)]
    found, files = beginning(keys, incomplete), sorted(glob(f"{escape(incomplete)}*.toml"))
    if len(found) != 1 or files:
        return [*(f"{key}=" for key in found), *files]
    (key,) = found
    return [f"{key}=", *(f"{key}={value}" for value in keys[key])]  # two at least, or the shell ends the word


def values(words: Iterable[str], start: str) -> list[str]:
    """Those with this beginning; after a comma, which several are given with, the next one."""
    given, comma, last = start.rpartition(",")
    return [f"{given}{comma}{word}" for word in beginning(words, last)]


def beginning(words: Iterable[str], start: str) -> list[str]:
    """Those with this beginning."""
    return [word for word in words if word.startswith(start)]
