"""The keys that a job starts from: those of a run, and those given beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsam.config import Component, Config
from fedsam.run import Run


def keys_of(run: Run | None, keys: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys that were chosen in a run, and after them others, which win; of what is a default nothing is said, so
    that every part that is chosen later has its own.

    >>> from fedsam.optim.sam import SAM
    >>> keys_of(Run(client=SAM(rho=0.1, lr=0.5), rounds=5), {"rounds": 7})
    {'client.name': 'sam', 'client.lr': 0.5, 'client.rho': 0.1, 'rounds': 7}
    """
    return {**(_chosen(run) if run is not None else {}), **(keys or {})}


def _chosen(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, info in Run.model_fields.items():
        value = getattr(run, field)
        if not isinstance(value, Component):
            found |= _plain(run, field, field)
            continue
        if value.name != info.default:
            found[f"{field}.name"] = value.name
        found |= _inside(value, field)
    return found


def _inside(part: Component, group: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, info in type(part).model_fields.items():
        value = getattr(part, field)
        if not isinstance(value, Component):
            found |= _plain(part, field, f"{group}.{field}")
            continue
        if value.name != info.default:
            found[f"{group}.{field}"] = value.name
        found |= _inside(value, group)
    return found


def _plain(held: Config, field: str, key: str) -> dict[str, Any]:
    value, usual = getattr(held, field), type(held).model_fields[field].default
    return {key: value} if field in held.model_fields_set or value != usual else {}
