"""Components that are found by their files, so that a new one is tried by what must hold for all of its kind."""

from __future__ import annotations

from typing import Any

from fedsam.config import Component, find, names
from fedsam.engine.base import Engine


def found(kind: type[Component], **without: str) -> list[str]:
    """The names of a kind, in alphabetical order.

    Args:
        without: names that a test cannot try, each with the reason; one that there is not is an error, so that no
            reason outlives what it was given for.
    """
    there = names(kind)
    gone = without.keys() - set(there)
    assert not gone, f"{kind.__name__} has no {', '.join(sorted(gone))}"
    return [name for name in there if name not in without]


def made(kind: Any, name: str, values: dict[str, dict[str, Any]]) -> Any:
    """A component with values that switch on what its defaults leave off; with its defaults where none are given."""
    return find(kind, name)(**values.get(name, {}))


ENGINES = found(
    Engine,
    auto="is another engine, which it chooses",
    flower="starts processes; tests/engine/test_started_engines.py tries it",
    ray="starts processes; tests/engine/test_ray.py tries it",
)
"""Those that train in the process that asks them."""

SLOWEST = "loop"
"""The engine that trains client by client, as the formulas say; the others are held against it."""

OTHERS = [name for name in ENGINES if name != SLOWEST]
