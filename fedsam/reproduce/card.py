"""The tables of settings in a reproduction card, held against the runs."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from fedsam.reproduce.base import PRESETS, Preset
from fedsam.run import Run

NONE = "-"
"""In a cell: the preset has no such key, or leaves it at its default."""


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

    A row `| patterns | keys |` applies to the runs that match one of its patterns; `key=*` allows any value, also none,
    `key=1/2/3` is another value in each preset.
    """
    found = tables(card)
    common = _common(found.get("key", []), preset)
    rows = [(cells[0].split(", "), _pairs(cells[1], preset)) for cells in found.get("runs", [])[1:]]
    lines = [
        f"no run of any name like {pattern}"
        for patterns, _ in rows
        for pattern in patterns
        if not any(fnmatchcase(name, pattern) for name in runs)
    ]
    default = Run().keys()
    for name, run in runs.items():
        said = dict(common)
        for patterns, pairs in rows:
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                said |= {key: value for key, value in pairs.items() if value != NONE}
        keys = {key: text(value) for key, value in run.keys().items()}
        for key, value in said.items():
            if value not in ("*", keys.get(key)):
                lines.append(f"{name}: {key} is {keys.get(key, 'no key')}, the card says {value}")
        plain = _defaults(run, default)
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


def _common(table: list[list[str]], preset: Preset) -> dict[str, str]:
    column = table[0].index(preset) if table and preset in table[0] else PRESETS.index(preset) + 1
    return {cells[0]: cells[column] for cells in table[1:] if cells[column] != NONE}


def _pairs(cell: str, preset: Preset) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in cell.split())
    each = {key: value.split("/") for key, value in pairs.items()}
    return {key: pairs[key] if len(of) != len(PRESETS) else of[PRESETS.index(preset)] for key, of in each.items()}


def _defaults(run: Run, default: Mapping[str, Any]) -> dict[str, str]:
    """The keys of this run's components at their defaults: those of a run with the same choices and nothing else."""
    keys = run.keys()
    chosen = {key: value for key, value in keys.items() if _is_choice(key, run) or key == "model.of"}  # has no default
    plain = {**default, **Run.from_keys(chosen).keys()} | {key: default[key] for key in chosen if key in default}
    return {key: text(value) for key, value in plain.items() if key not in chosen or key in default}


def _is_choice(key: str, run: Run) -> bool:
    """Whether a key names a component."""
    group, dot, field = key.partition(".")
    return bool(dot) and (field == "name" or _holds_component(getattr(run, group), field))


def _holds_component(part: Any, field: str) -> bool:
    from fedsam.config import Component

    values = {name: getattr(part, name) for name in type(part).model_fields}
    if isinstance(values.get(field), Component):
        return True
    return any(_holds_component(inner, field) for inner in values.values() if isinstance(inner, Component))
