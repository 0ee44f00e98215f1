"""Every key of a run with its values, for the shell's completion: a line a key, its parts between tabs."""

from __future__ import annotations

import re

from fedsam.run import describe_keys

WORDS = re.compile(r"[a-z][\w-]*( [a-z][\w-]*)+")
TYPES = "float", "int", "bool", "text"


def lines() -> str:
    """`key<tab>value<tab>value...`; the default alone where values are no words."""
    found: dict[str, list[str]] = {}
    for row in describe_keys():
        values = found.setdefault(row.key, [])
        values += [value for value in _values(row.allowed, row.default) if value not in values]
    return "".join("\t".join((key, *found[key])) + "\n" for key in sorted(found))


def _values(allowed: str, default: object) -> list[str]:
    kind = allowed.partition(" ")[0]
    if kind == "bool":
        return ["true", "false"]
    if kind not in TYPES and WORDS.fullmatch(allowed):
        return allowed.split()
    return [] if default is None or default == "" else [str(default)]
