"""The keys that a job starts from: those of a run, and those given beside it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsam.border.given import Name
from fedsam.config import ADAPTERS, OBJECTS, Component, Config, root_of
from fedsam.errors import InputError
from fedsam.run import Run


def must_be_runs(*given: object) -> None:
    """Refuse what is no description of a run.

    Raises:
        InputError: with how one is made.
    """
    for each in given:
        if not isinstance(each, Run):
            made = "Run.from_keys({...})" if isinstance(each, Mapping) else "Run(client=SAM(), rounds=50)"
            raise InputError("run", InputError.ABSENT, f"a {type(each).__name__} is no run; make one: {made}")


def keys_of(run: Run | None, keys: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys that were chosen in a run, and after them others, which win; of what is a default nothing is said, so
    that every part that is chosen later has its own.

    >>> from fedsam.optim.sam import SAM
    >>> keys_of(Run(client=SAM(rho=0.1, lr=0.5), rounds=5), {"rounds": 7})
    {'client.name': 'sam', 'client.lr': 0.5, 'client.rho': 0.1, 'rounds': 7}
    """
    if run is not None:
        must_be_runs(run)
    given = {key: _named(key, value) for key, value in (keys or {}).items()}
    return {**(_chosen(run) if run is not None else {}), **given}


def _named(key: str, value: Any) -> Any:
    """The value of a key, objects that parts can be made of by their names."""
    group, _, field = key.partition(".")
    info = Run.model_fields.get(group)
    root = root_of(info) if info is not None and field == "name" else None
    if root is None:
        return value
    several = isinstance(value, list) and not all(isinstance(each, int | float) for each in value)
    found = [name_for(root, each) for each in (value if several else [value])]
    return found if several else found[0]


def _chosen(part: Config, group: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, info in type(part).model_fields.items():
        value, key = getattr(part, field), f"{group}.{field}" if group else field
        if isinstance(value, Component):
            if value.name != info.default:
                found[key if group else f"{field}.name"] = value.name
            found |= _chosen(value, group or field)
        elif field in part.model_fields_set or value != info.default:
            found[key] = value
    return found


def taken_out(given: dict[str, Any], out: Path | str | None) -> Path | None:
    """The directory that a job writes into: `out`, else the key of that name, which is taken out; None for neither."""
    named = given.pop("out", None)
    return Path(out or named) if out or named else None


def name_for(root: type[Component], thing: Any) -> Any:
    """The name of an object of which a part of this kind can be made; anything else as it is."""
    if isinstance(thing, str) or root.kind not in OBJECTS or isinstance(thing, Component):
        return thing
    there = importlib.import_module(ADAPTERS[root.kind]).taken(thing)
    return thing if there is None else Name.of(there)
