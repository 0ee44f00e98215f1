"""`fedsam keys`: the keys of a run, all of them or those of a group or with a word."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from fedsam.cli.options import Debug, Json
from fedsam.errors import InputError

if TYPE_CHECKING:
    from fedsam.run import KeyRow

WIDE = 160  # columns, from which there is a table
PIPED = 200  # columns of what is no terminal, where COLUMNS does not say


def keys(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUP | WORD]", help="a group, such as client, or a word to be found", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the keys of a run: default, what is allowed, what it does, and where the default comes from.

    For example: fedsam keys client, fedsam keys rho, fedsam keys "learning rate"
    """
    from fedsam.run import describe_keys

    rows = chosen(describe_keys(), word)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    width = shutil.get_terminal_size((0, 0)).columns or (80 if sys.stdout.isatty() else PIPED)
    if width < WIDE:
        print("\n".join(line for row in rows for line in paragraph(row, width)))
    else:
        _table(rows, width)


def chosen(rows: list[KeyRow], word: str | None) -> list[KeyRow]:
    """The keys of a group; or else those with a word in their names, their parts or what is said of them.

    Raises:
        InputError: there is none.
    """
    if word is None:
        return rows
    groups = list(dict.fromkeys(row.key.partition(".")[0] for row in rows if "." in row.key))
    group = word.rstrip(".")
    if group in groups:
        return [row for row in rows if row.key.startswith(f"{group}.")]
    small = word.lower()
    found = [row for row in rows if any(small in text.lower() for text in (row.key, *row.of, row.help))]
    if not found:
        close = get_close_matches(word, [*groups, *(row.key for row in rows)], n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError("", InputError.ABSENT, f"no key has {word!r} in it; {hint}groups are {', '.join(groups)}")
    return found


def paragraph(row: KeyRow, width: int) -> list[str]:
    """A key where there is no room for a table: its name and default, and below what it is; words are kept whole."""
    default = "none" if row.default is None else str(row.default)
    told = [f"{row.help} ({row.source})" if row.source else row.help, f"allowed: {row.allowed}"]
    told += [f"of: {' '.join(row.of)}"] if row.of else []
    below = [textwrap.wrap(text, max(20, width), initial_indent="    ", subsequent_indent="    ") for text in told]
    return [f"{row.key} = {default}", *(line for lines in below for line in lines)]


def _table(rows: list[KeyRow], width: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("key", "of", "default", "allowed", "what it is", "default from"):
        table.add_column(header, overflow="fold", max_width=28 if header == "of" else None)
    for row in rows:
        default = "none" if row.default is None else str(row.default)
        table.add_row(row.key, " ".join(row.of), default, row.allowed, row.help, row.source)
    Console(width=width).print(table, highlight=False, markup=False)
