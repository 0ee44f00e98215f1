"""The tables of settings in a reproduction card, held against the runs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from fedsam.config import Component
from fedsam.reproduce.base import PRESETS, Preset
from fedsam.run import Run

NONE = "-"
"""In a cell: the preset has no such key, or leaves it at its default."""
BRACES = re.compile(r"\{(?P<formula>[^{}:]+)(?::(?P<form>[^{}]*))?\}")
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def tables(card: str) -> dict[str, list[list[str]]]:
    """The Markdown tables of a text by the first cell of their headers: header and rows, as cells."""
    found: dict[str, list[list[str]]] = {}
    current: list[list[str]] | None = None
    for line in card.splitlines():
        if not line.startswith("|"):
            current = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if current is None:
            current = found.setdefault(cells[0], [])
        if set("".join(cells)) - set("-:") or not "".join(cells):
            current.append(cells)
    return found


def differences(card: str, preset: Preset, runs: Mapping[str, Run]) -> list[str]:
    """Where the card's two tables and the runs of a preset do not agree, a line each; see `fedsam.reproduce.base`.

    A row `| patterns | keys |` applies to the runs that match one of its patterns; `key=1/2/3` is another value in each
    preset, `key=-` says that the key is at its default or not there. `{word}` in a pattern stands for a part of a name
    without spaces, and in a value for that part, or in a formula of + - * for its number: the runs `late {p}%` with
    `client.switch={200-2*p}`; `{p:.2f}` writes the number so. With a third cell a row applies to the presets named
    there alone, and later rows win. No value stands for any value.
    """
    common, rows = _said(card, preset)
    lines = [
        f"no run of any name like {pattern}"
        for patterns, _ in rows
        for pattern in patterns
        if not any(_fields(pattern, name) is not None for name in runs)
    ]
    for name, run in runs.items():
        said = dict(common)
        for patterns, pairs in rows:
            fields = next((of for pattern in patterns if (of := _fields(pattern, name)) is not None), None)
            if fields is not None:
                said |= {key: _filled(value, fields) for key, value in pairs.items()}
        said = {key: value for key, value in said.items() if value != NONE}
        given = run.keys()
        keys = {key: text(value) for key, value in given.items()}
        for key, value in said.items():
            if value != keys.get(key):
                lines.append(f"{name}: {key} is {keys.get(key, 'no key')}, the card says {value}")
        chosen = {"model.of", *_choices(run)}  # model.of has no default
        plain = _defaults(tuple((key, value) for key, value in given.items() if key in chosen))
        lines += [
            f"{name}: {key}={value} is not in the card"
            for key, value in keys.items()
            if key not in said and value != plain.get(key, value)
        ]
    return lines


def text(value: Any) -> str:
    """A value of a key as it stands in a card."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@lru_cache(maxsize=16)
def _said(card: str, preset: Preset) -> tuple[dict[str, str], list[tuple[list[str], dict[str, str]]]]:
    """What a card says of a preset: the keys that all runs share, and each row's patterns and keys."""
    found = tables(card)
    applying = [cells for cells in found.get("runs", [])[1:] if preset in [*cells, preset][2].split(", ")]
    rows = [(cells[0].split(", "), _pairs(cells[1], preset)) for cells in applying]
    return _common(found.get("key", []), preset), rows


def _common(table: list[list[str]], preset: Preset) -> dict[str, str]:
    column = table[0].index(preset) if table and preset in table[0] else PRESETS.index(preset) + 1
    return {cells[0]: cells[column] for cells in table[1:] if cells[column] != NONE}


def _pairs(cell: str, preset: Preset) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in re.split(r" (?=[\w.]+=)", cell))
    each = {key: value.split("/") for key, value in pairs.items()}
    return {key: pairs[key] if len(of) != len(PRESETS) else of[PRESETS.index(preset)] for key, of in each.items()}


def _fields(pattern: str, name: str) -> dict[str, str] | None:
    """What the words in braces of a pattern stand for in a name; None if the name is not like the pattern."""
    found = _shape(pattern).fullmatch(name)
    return None if found is None else found.groupdict()


@lru_cache(maxsize=256)
def _shape(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\{(\w+)\}|(\*)|([^{*]+)", pattern)
    return re.compile(
        "".join(rf"(?P<{word}>\S+)" if word else ".*" if star else re.escape(plain) for word, star, plain in parts)
    )


def _filled(value: str, fields: Mapping[str, str]) -> str:
    """A value with what its braces stand for."""

    def one(match: re.Match[str]) -> str:
        formula, form = match["formula"], match["form"]
        if formula in fields and form is None:
            return fields[formula]
        return format(_number(ast.parse(formula, mode="eval").body, fields), form or "g")

    return BRACES.sub(one, value)


def _number(node: ast.expr, fields: Mapping[str, str]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=word):
            return float(fields[word])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return float(OPERATORS[type(op)](_number(left, fields), _number(right, fields)))
    raise ValueError(f"not a formula of + - *: {ast.unparse(node)}")


@lru_cache(maxsize=1024)
def _defaults(choices: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    """The keys of a run's components at their defaults: those of a run with the same choices and nothing else."""
    default, chosen = Run().keys(), dict(choices)
    named = Run.from_keys({key: value for key, value in chosen.items() if key.endswith(".name") or key == "model.of"})
    usual = {**named.keys(), **default}
    plain = {**default, **Run.from_keys(chosen).keys()} | {key: usual[key] for key in chosen if key in usual}
    return {key: text(value) for key, value in plain.items()}


def _choices(run: Run) -> Iterator[str]:
    """The keys that name components."""
    for group in type(run).model_fields:
        part = getattr(run, group)
        if isinstance(part, Component):
            yield f"{group}.name"
            yield from (f"{group}.{field}" for field in _held(part))


def _held(part: Component) -> Iterator[str]:
    """The fields that hold components, here and inside them."""
    for field in type(part).model_fields:
        if isinstance(inner := getattr(part, field), Component):
            yield field
            yield from _held(inner)
