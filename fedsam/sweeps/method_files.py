"""The files of a study of methods: tables, figure, and every setting beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded
from fedsam.sweeps.method_results import NUMBERS, Methods, in_words
from fedsam.sweeps.method_tables import by_client, by_strategy
from fedsam.sweeps.tables import pipes


def write(found: Methods, shared: Mapping[str, Any]) -> None:
    """Write methods.json, .csv, .md and .toml, and the figure as PNG and SVG.

    Args:
        shared: the keys that all methods have in common.
    """
    told = {
        "target": found.target,
        "shared": dict(shared),
        "methods": found.rows(),
        "ends": {key: dict(zip(("smallest", "largest", "of"), n, strict=True)) for key, n in found.ends().items()},
        "search": {method.name: [{**keys, "value": value} for keys, value in method.tried] for method in found.methods},
        "skipped": found.skipped,
        "failures": found.failures,
    }
    texts = {
        "methods.json": json.dumps(told, indent=2) + "\n",
        "methods.csv": as_csv(found.rows()),
        "methods.md": as_markdown(found),
        "methods.toml": as_toml(found, shared),
    }
    with on_disk(found.out / "methods.json"):
        for name, text in texts.items():
            replace_file(found.out / name, encoded(text))
        figure = found.plot()
        for kind in ("png", "svg"):
            figure.savefig(found.out / f"methods.{kind}")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a method, all digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = [f"{name}_{part}" for name in NUMBERS for part in ("mean", "std")]
    writer.writerow(["server", "client", "chosen", "trials", "validation", "seeds", "reached", *numbers])
    for row in rows:
        before = row["server"], row["client"], in_words(row["chosen"]), row["trials"], row["validation"]
        writer.writerow([*before, len(row["seeds"]), row["reached"], *(row[name] for name in numbers)])
    return text.getvalue()


def as_markdown(found: Methods) -> str:
    """The table, its headline, and what was left out and why."""
    heads, cells = found.table()
    why: dict[str, list[str]] = {}
    for pair, reason in found.skipped.items():
        why.setdefault(reason.partition(": ")[2] or reason, []).append(pair)
    left = [
        f"- {', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}: {reason}"
        for reason, names in why.items()
    ]
    failed = [f"- {failure}" for failure in found.failures]
    tables = {"Strategies": by_strategy(found), "Client optimisers": by_client(found), "All": (heads, cells)}
    parts = [found.headline() + "."]
    parts += [f"## {name}\n\n" + "\n".join(pipes(*table)) for name, table in tables.items()]
    ends = [
        f"- {key}: {low} the smallest, {high} the largest, of {of}" for key, (low, high, of) in found.ends().items()
    ]
    parts += ["Chosen at an end of what was tried:\n\n" + "\n".join(ends)] if ends else []
    parts += ["Not compared:\n\n" + "\n".join(left)] if left else []
    parts += ["Failed:\n\n" + "\n".join(failed)] if failed else []
    return "\n\n".join(parts) + "\n"


def as_toml(found: Methods, shared: Mapping[str, Any]) -> str:
    """The shared keys and, in a table for each method, its parts and the chosen values."""

    def lines(keys: Mapping[str, Any]) -> list[str]:
        return [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]

    parts = ["[shared]", *lines({key: "none" if value is None else value for key, value in shared.items()})]
    for method in found.ranked():
        names = {"server.name": method.server, "client.name": method.client}
        parts += ["", f"[{json.dumps(method.name)}]", *lines({**names, **method.chosen})]
    return "\n".join(parts) + "\n"


def show(found: Methods) -> None:
    """The table, for a person, and where the figure is."""
    from rich.console import Console
    from rich.table import Table

    heads, cells = found.table()
    table = Table(title=found.headline(), title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in heads[:3] else "right", overflow="fold")
    for line in cells:
        table.add_row(*line)
    console = Console()
    console.print(table, highlight=False)
    if found.skipped:
        console.print(f"{len(found.skipped)} pairs not compared; methods.md says why", highlight=False)
    if found.failures:
        console.print(f"{len(found.failures)} runs failed; methods.md names them", highlight=False)
    for label, name in (("figure", "methods.png"), ("table", "methods.csv"), ("settings", "methods.toml")):
        console.print(f"{label}: {found.out / name}", highlight=False, soft_wrap=True)
