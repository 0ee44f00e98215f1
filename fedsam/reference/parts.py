"""The parts that a run is made of, as tables: the key that chooses each and the names there are, and what these are."""

from __future__ import annotations

from collections.abc import Iterator

from fedsam.config import Component, Config, find, names, root_of
from fedsam.data.augment.base import Augment
from fedsam.data.base import Dataset
from fedsam.data.partition.base import Partition
from fedsam.data.stored import Partitioned
from fedsam.models.base import Model
from fedsam.optim.sgd import SGD
from fedsam.reference.tables import paper, summary, table
from fedsam.run import Run
from fedsam.tasks.base import Task

LISTED: tuple[tuple[str, str, type[Component]], ...] = (
    ("Data sets", "data.name", Dataset),
    ("Models", "model.name", Model),
    ("Tasks", "task.name", Task),
    ("Partitions", "data.partition", Partition),
    ("Augmentations", "data.augment", Augment),
)


def markdown() -> str:
    """A row for each key that chooses a part by its name."""
    found = (*_parts(Run, ""), *_parts(Partitioned, "data."), *_parts(SGD, "client."))
    rows = [[f"`{key}`", root.kind, " ".join(f"`{name}`" for name in names(root))] for key, root in found]
    return table(["key", "chooses", "there are"], rows)


def catalogue() -> str:
    """A table for each kind of `LISTED`: name, what it is, and the paper it is from."""
    parts = []
    for title, key, root in LISTED:
        found = [(name, find(root, name)) for name in names(root)]
        rows = [[f"`{name}`", summary(cls), paper(cls)] for name, cls in found]
        parts.append(f"## {title}\n\n{table([f'`{key}`', 'what it is', 'paper'], rows)}")
    return "\n".join(parts)


def _parts(holder: type[Config], group: str) -> Iterator[tuple[str, type[Component]]]:
    for field, info in holder.model_fields.items():
        if (root := root_of(info)) is not None:
            yield f"{group}{field}" if group else f"{field}.name", root
