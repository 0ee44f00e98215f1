"""The parts that a run is made of, as a table: the key that chooses each, and the names that there are."""

from __future__ import annotations

from collections.abc import Iterator

from fedsam.config import Component, Config, names, root_of
from fedsam.data.stored import Partitioned
from fedsam.optim.sgd import SGD
from fedsam.run import Run


def markdown() -> str:
    """A row for each key that chooses a part by its name."""
    lines = ["| key | chooses | there are |", "| --- | --- | --- |"]
    for key, root in (*_parts(Run, ""), *_parts(Partitioned, "data."), *_parts(SGD, "client.")):
        lines.append(f"| `{key}` | {root.kind} | {' '.join(f'`{name}`' for name in names(root))} |")
    return "\n".join(lines) + "\n"


def _parts(holder: type[Config], group: str) -> Iterator[tuple[str, type[Component]]]:
    for field, info in holder.model_fields.items():
        if (root := root_of(info)) is not None:
            yield f"{group}{field}" if group else f"{field}.name", root
