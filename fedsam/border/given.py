"""Objects that a run was given in Python: a function, a module, arrays. Each has a name that says what it is.

Whatever can be imported elsewhere goes by its importable name, `package.module:attribute`. Anything else, such as a
function of a notebook or arrays, is `given:NAME-DIGEST`, with the beginning of a sha256 of its content: the same
content has the same name, so a run directory says truly what the run was made of, and takes no other object for it. The
object itself is in no file; it is found by its name as long as a part made of it is alive in this process, and goes to
processes that are started for the run by value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from fedsam.border.foreign import imported
from fedsam.errors import InputError

SCHEME, MAIN = "given", "__main__"
LETTERS = 12  # of the digest that are in a name


class Holder:
    """Keeps an object as long as a part that was made of it keeps the holder.

    Args:
        name: of the object.
        thing: the object.
    """

    def __init__(self, name: str, thing: Any) -> None:
        self.name, self.thing = name, thing
        self.made: dict[type, type] = {}
        """The classes that parts of it have, by the root of their kind."""


class Name(str):
    """The name of an object, which keeps it: for keys, as long as no part is made of them."""

    holder: Holder

    @classmethod
    def of(cls, there: Holder) -> Name:
        """That of a holder's."""
        found = cls(there.name)
        found.holder = there
        return found


_holders: WeakValueDictionary[str, Holder] = WeakValueDictionary()
_sent: dict[str, Holder] = {}


def named(thing: Any, label: str, digest: Callable[[], str]) -> Holder:
    """The holder of an object that is given now.

    Args:
        label: what it is called.
        digest: gives the sha256 of its content.
    """
    name = importable(thing)
    if name is None:
        safe = "".join(letter if letter.isalnum() else "_" for letter in label) or "object"
        name = f"{SCHEME}:{safe}-{digest()[:LETTERS]}"
    there = _holders.get(name)
    if there is None or (importable(thing) is not None and there.thing is not thing):
        there = _holders[name] = Holder(name, thing)
    return there


def importable(thing: Any) -> str | None:
    """The name by which any process can import an object; None if there is none."""
    module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module == MAIN or module not in sys.modules:
        return None
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return f"{module}:{qualname}" if found is thing else None


def holder(name: str) -> Holder | None:
    """The holder of what has this name: given, or sent to this process; None for a name that is to be imported.

    Raises:
        InputError: it was given in another process, or nothing made of it is alive.
    """
    if name in _sent:
        return _sent[name]
    if not name.startswith(f"{SCHEME}:"):
        return None
    if name not in _holders:
        told = (
            "was an object of a Python program, which no file holds; make the same Run again in Python, and go on with"
        )
        raise InputError("name", name, f"{told} fedsam.resume(DIRECTORY, run=...)")
    return _holders[name]


def carried(values: Iterable[Any]) -> dict[str, Any]:
    """Of the values of keys, the objects that another process cannot import, by name."""
    found = {}
    for name in values:
        if isinstance(name, str) and (there := holder(name)):
            found[name] = there.thing
        elif isinstance(name, str) and name.startswith(f"{MAIN}:"):
            found[name] = imported(name)
    return found


@contextmanager
def known(things: Mapping[str, Any]) -> Iterator[None]:
    """Inside, objects that were sent here are found by their names."""
    before = dict(_sent)
    _sent.update({name: Holder(name, thing) for name, thing in things.items()})
    try:
        yield
    finally:
        _sent.clear()
        _sent.update(before)


def must_be_importable(values: Mapping[str, Any], where: str) -> None:
    """Refuse objects that cannot be imported by name.

    Args:
        values: of dotted keys.
        where: they would have to be, as the subject of a sentence.

    Raises:
        InputError: there is one.
    """
    for key, name in values.items():
        if isinstance(name, str) and name.startswith((f"{SCHEME}:", f"{MAIN}:")):
            told = f"{where} imports what it needs by name; put it into a module, and give package.module:name"
            raise InputError(key, name, told)
