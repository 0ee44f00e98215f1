"""What the system model did in a run, in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

WORDS = {
    "trained": "trained",
    "shortened": "of these with part of their steps",
    "dropout": "dropped out",
    "work": "without work",
    "deadline": "past the deadline",
    "empty": "rounds without any",
}
"""Counts in words; another is shown by its own name."""


def turned_out(records: Sequence[dict[str, Any]]) -> str:
    """Of how many clients that were asked how many trained, and why the others did not; empty where nothing was lost.

    >>> turned_out([{"turnout": {"rounds": 2, "asked": 10, "trained": 7, "dropout": 3}}, {}])
    'of 10 clients asked 7 trained, 3 dropped out'
    """
    total = Counter[str]()
    for record in records:
        total.update(record.get("turnout") or {})
    asked, told = total.pop("asked", 0), {name: number for name, number in total.items() if name != "rounds" and number}
    if not asked or (told.keys() == {"trained"} and told["trained"] == asked):
        return ""
    ordered = sorted(told, key=lambda name: list(WORDS).index(name) if name in WORDS else len(WORDS))
    words = [f"{told[name]:,} {WORDS.get(name, name.replace('_', ' '))}" for name in ordered]
    return f"of {asked:,} clients asked {', '.join(words)}"
