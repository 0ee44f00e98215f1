"""What the tests of partitions share."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.config import names, resolve
from fedsam.data.partition.base import (
    Assignment,
    Partition,
)
from fedsam.rng import stream

REAL = os.environ.get("FEDSAM_DATA")  # read before a fixture can touch it
KIND: Any = Partition
ALL = names(Partition)
BY_GROUPS = {"natural", "grouped", "within_groups"}  # clients are made of users or domains
OUTCOME = {"dirichlet_class", "quantity"} | BY_GROUPS  # sizes are an outcome of the rule
EXTREMES = [
    ("iid", {}),
    ("dirichlet", {"alpha": 5e-324}),
    ("dirichlet", {"alpha": 1e-12}),
    ("dirichlet", {"alpha": 0.05}),
    ("dirichlet", {"alpha": 1e6}),
    ("dirichlet", {"alpha": 1e300}),
    ("dirichlet_class", {"alpha": 5e-324}),
    ("dirichlet_class", {"alpha": 1e-12}),
    ("dirichlet_class", {"alpha": 1e6}),
    ("dirichlet_class", {"alpha": 1e300}),
    ("shards", {"shards_per_client": 1}),
    ("quantity", {"sigma": 0.0}),
    ("quantity", {"sigma": 1e6}),
]


def of(chosen: Any) -> Partition:
    found: Partition = resolve(KIND, chosen)
    return found


def make(name: str, folder: Path, labels: np.ndarray, clients: int, size: int | None, **keys: Any) -> Partition:
    """The partition; `file` reads one that is written here, and there is a group for each client."""
    if name == "file" and not keys:
        parts = np.array_split(np.arange(len(labels))[::-1], clients)
        path = folder / "split.json"
        path.write_text(json.dumps([part[:size].tolist() for part in parts]))
        keys = {"split_file": str(path)}
    groups = np.arange(len(labels)) % clients
    return of({"name": name, **keys}).of_groups(groups, tuple(map(str, range(clients))))


def counts_of(assignment: Assignment, labels: np.ndarray) -> np.ndarray:
    classes = int(labels.max()) + 1
    parts = [assignment.of_client(k) for k in range(assignment.clients)]
    return np.stack([np.bincount(labels[part], minlength=classes) for part in parts])


def counts(name: str, labels: np.ndarray, clients: int, size: int | None = None, seed: int = 0, **keys: Any) -> Any:
    partition = of({"name": name, **keys})
    return counts_of(partition.assign(labels, clients, size, stream(seed, "partition")), labels)


def balanced(examples: int, classes: int, seed: int = 0) -> np.ndarray:
    return stream(seed, "labels").permutation(np.arange(examples) % classes)


def conforms(assignment: Assignment, examples: int, clients: int, size: int | None, covers: bool = True) -> None:
    assert assignment.index.dtype == assignment.offsets.dtype == np.int64
    assert assignment.clients == clients
    assert assignment.offsets[0] == 0
    assert assignment.offsets[-1] == len(assignment.index)
    sizes = assignment.sizes()
    assert sizes.min() >= 1
    assert len(np.unique(assignment.index)) == len(assignment.index)
    assert assignment.index.min() >= 0
    assert assignment.index.max() < examples
    for k in range(clients):
        assert (np.diff(assignment.of_client(k)) > 0).all()
    if size is not None:
        assert (sizes == size).all()
    elif covers:
        assert len(assignment.index) == examples


def same(a: Assignment, b: Assignment) -> bool:
    return np.array_equal(a.index, b.index) and np.array_equal(a.offsets, b.offsets)
