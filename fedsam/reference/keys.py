"""Every key of a run as a page of the documentation, a table for each group."""

from __future__ import annotations

from itertools import groupby

from fedsam.reference.tables import table
from fedsam.run import describe_keys

HEADER = "key", "of", "default", "allowed", "what it is", "default from"
ABOUT = {
    "": "The run itself",
    "data": "Data sets, partitions, skews and augmentations",
    "model": "Models",
    "client": "Client optimisers",
    "server": "Algorithms",
    "average": "Averages over rounds",
    "task": "Tasks",
    "attack": "Attacks",
    "geometry": "Flatness in the course of a run",
    "diagnostics": "The clients' updates in the course of a run",
    "local": "The clients' own tests in the course of a run",
    "system": "Unreliable devices",
    "engine": "Engines",
}


def markdown() -> str:
    """A table for each group of keys."""
    lines = []
    rows = sorted(describe_keys(), key=lambda row: "." in row.key)  # the run's own first, else in their order
    for group, members in groupby(rows, key=lambda row: row.key.rpartition(".")[0]):
        cells = []
        for row in members:
            default = "none" if row.default is None else str(row.default) or '""'
            cells.append([f"`{row.key}`", " ".join(row.of), f"`{default}`", row.allowed, row.help, row.source])
        lines.append(f"## {ABOUT.get(group, group.capitalize())}\n\n{table(HEADER, cells)}")
    return "\n".join(lines)
