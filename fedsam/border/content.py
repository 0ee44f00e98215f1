"""A checksum of what an object is: the code of functions and classes, the state of modules.

What a function calls is not looked at, beyond its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial, singledispatch
from types import CodeType, FunctionType, MethodType
from typing import Any

OWN = "fedsam", "torch", "numpy", "builtins", "abc", "typing", "pydantic"
"""Packages whose classes are known by their names alone."""
ASIDE = {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__", "_abc_impl"}


def summed(thing: Any) -> str:
    """sha256 of it; the same for the same content, in whatever process."""
    found, seen, waiting = hashlib.sha256(), set[int](), [thing]
    kept = []
    while waiting:
        part = waiting.pop()
        if id(part) in seen and not isinstance(part, int | float | str | bytes | None):
            continue
        seen.add(id(part))
        kept.append(part)  # or its number could be another's
        text, inside = opened(part)
        found.update(f"{len(text)}:{text}:{len(inside)}".encode("utf-8", "backslashreplace"))
        waiting += reversed(inside)
    return found.hexdigest()


@singledispatch
def opened(thing: Any) -> tuple[str, Sequence[Any]]:
    """What is said of an object itself, and what it is made of."""
    if hasattr(thing, "__array__"):
        import numpy as np

        array = np.ascontiguousarray(thing.detach().cpu() if hasattr(thing, "detach") else thing)
        return f"{array.dtype.str}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}", ()
    state = {name: value for name, value in getattr(thing, "__dict__", {}).items() if not name.startswith("__")}
    return type(thing).__qualname__, (type(thing), state)


@opened.register(int | float | str | bytes | bool | complex | None | range | type(...))
def _(thing: Any) -> tuple[str, Sequence[Any]]:
    return repr(thing), ()


@opened.register(list | tuple)
def _(thing: Any) -> tuple[str, Sequence[Any]]:
    return "list", thing


@opened.register(set | frozenset)
def _(thing: Any) -> tuple[str, Sequence[Any]]:
    return repr(sorted(map(repr, thing))), ()


@opened.register
def _(thing: Mapping) -> tuple[str, Sequence[Any]]:  # type: ignore[type-arg]
    parts = sorted(((repr(key), value) for key, value in thing.items()), key=lambda each: each[0])
    return "mapping", [part for pair in parts for part in pair]


@opened.register
def _(thing: MethodType) -> tuple[str, Sequence[Any]]:
    return "method", (thing.__func__, thing.__self__)


@opened.register
def _(thing: partial) -> tuple[str, Sequence[Any]]:  # type: ignore[type-arg]
    return "partial", (thing.func, thing.args, thing.keywords)


@opened.register
def _(thing: FunctionType) -> tuple[str, Sequence[Any]]:
    if (thing.__module__ or "").partition(".")[0] in OWN:
        return f"{thing.__module__}.{thing.__qualname__}", ()
    cells = []
    for cell in thing.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # empty as yet
            continue
    return "function", (thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells)


@opened.register
def _(thing: CodeType) -> tuple[str, Sequence[Any]]:
    return f"{thing.co_code.hex()}{thing.co_names}{thing.co_varnames}", thing.co_consts


@opened.register
def _(thing: type) -> tuple[str, Sequence[Any]]:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if thing.__module__.partition(".")[0] in OWN:
        return name, ()
    return thing.__qualname__, (thing.__bases__, {n: v for n, v in thing.__dict__.items() if n not in ASIDE})


@opened.register(staticmethod | classmethod)
def _(thing: Any) -> tuple[str, Sequence[Any]]:
    return "method", (thing.__func__,)


@opened.register
def _(thing: property) -> tuple[str, Sequence[Any]]:
    return "property", (thing.fget, thing.fset)
