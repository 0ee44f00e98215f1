"""The keys modules, for type checkers: what a part that holds another one understands beside its own fields.

`ASAM(rho=0.5, lr=0.1)` hands `lr` to the base optimiser. Which keys there are is found out from the parts when the
program runs; a type checker reads them from these modules, which nothing imports when the program runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fedsam.attack.base import Attack
from fedsam.config import Component, find, held_by, names, root_of
from fedsam.data.augment.base import Augment
from fedsam.data.partition.base import Partition
from fedsam.data.skew.base import Skew
from fedsam.optim.base import BaseOptimizer, Wrapper
from fedsam.schedule.base import Schedule
from fedsam.schedule.local.base import LocalSchedule

MODULES: dict[str, dict[str, tuple[type[Component], ...]]] = {
    "fedsam/attack/keys.py": {"AttackKeys": (Attack,)},
    "fedsam/data/augment/keys.py": {"AugmentKeys": (Augment,)},
    "fedsam/data/keys.py": {"DivisionKeys": (Partition, Skew), "SkewKeys": (Skew,)},
    "fedsam/optim/keys.py": {"BaseKeys": (BaseOptimizer,), "WrapperKeys": (Wrapper,)},
    "fedsam/schedule/keys.py": {"ScheduleKeys": (Schedule, LocalSchedule)},
}
"""By file, a class for the kinds of parts that are held together."""


@dataclass
class Told:
    """A key: its types, as they are written, and a default of it."""

    types: set[str]
    default: Any


def keys_of(*held: type[Component]) -> dict[str, Told]:
    """The keys of all parts that can stand where a `held` stands, and of those that they hold."""
    found: dict[str, Told] = {}
    for each in held:
        _gather(each, found, set())
    return dict(sorted(found.items()))


def _gather(held: type[Component], found: dict[str, Told], seen: set[type[Component]]) -> None:
    root = next(c for c in held.__mro__ if "package" in c.__dict__)
    every: list[type[Component]] = [find(root, name) for name in names(root)]
    parts = [part for part in every if issubclass(part, held) and part not in seen]
    seen |= set(parts)
    for part in parts:
        for field, info in part.model_fields.items():
            told = found.setdefault(field, Told(set(), info.default))
            inner = held_by(info)
            told.types |= {"Component", "str"} if root_of(info) else _types(info.annotation)
            if root_of(info) and issubclass(inner, Component):
                _gather(inner, found, seen)


def _types(held: Any) -> set[str]:
    if get_origin(held) in (Union, UnionType):
        return set[str]().union(*(_types(part) for part in get_args(held)))
    if get_origin(held) is Literal:
        return {type(value).__name__ for value in get_args(held)}
    return {"None" if held is NoneType else held.__name__}


def written(file: str) -> str:
    """A keys module."""
    classes, needed = [], {"Config"}
    for name, held in MODULES[file].items():
        fields = keys_of(*held)
        needed |= {"Component"} if any("Component" in told.types for told in fields.values()) else set()
        lines = [f"    {key}: {_union(told.types)} = {json_like(told.default)}" for key, told in fields.items()]
        about = " and a ".join(f"`{each.__name__}`" for each in held)
        classes.append("\n".join([f"class {name}(Config):", f'    """Those handed to a {about}."""', "", *lines]))
    head = '"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""'
    start = ["from __future__ import annotations", "", f"from fedsam.config import {', '.join(sorted(needed))}"]
    return "\n".join([head, "", *start, "", "", "\n\n\n".join(classes), ""])


def _union(types: set[str]) -> str:
    return " | ".join(sorted(types, key=lambda text: (text == "None", text)))


def json_like(value: Any) -> str:
    """A default as it is written."""
    return json.dumps(value) if isinstance(value, str) else repr(value)
