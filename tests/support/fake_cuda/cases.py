"""Runs for the fake device: every part that is found by its file, beside parts of every other kind.

A part's own file says which keys it has; here stands only what its defaults leave off, or what makes it small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Any

from fedsam.algorithm.strategy import Average, Strategy
from fedsam.data.augment.base import Augment
from fedsam.models.base import Model
from fedsam.optim.base import ClientOptimizer
from fedsam.tasks.base import Task
from fedsam.transforms.base import Compression, Privacy
from tests.support.discovered import ENGINES, found

Keys = dict[str, Any]

OPTIMISERS = found(ClientOptimizer)
STRATEGIES = found(Strategy)
AVERAGES = found(Average)
AUGMENTS = found(Augment, scale_crop="moves masks; it is among the tasks")
PRECISIONS = ["fp32", "tf32", "bf16", "fp64"]
TRANSFORMS: dict[str, Keys] = {
    **{name: {"privacy.name": name} for name in found(Privacy, none="is nothing")},
    "gaussian_adaptive": {"privacy.name": "gaussian_adaptive", "privacy.count_noise": 1.0},
    "gaussian by clients": {"privacy.name": "gaussian", "privacy.noise_by": "clients"},
    **{name: {"compress.name": name} for name in found(Compression, none="is nothing")},
    "qsgd and gaussian": {"compress.name": "qsgd", "privacy.name": "gaussian"},
}
"""What is done to updates where they are made, and where they arrive."""
TASKS = found(Task, auto="is another task, which it chooses")

NETWORKS: dict[str, Keys] = {
    "mlp": {"model.name": "mlp"},
    "cnn": {"model.name": "cnn", "model.channels": 4},
    "resnet8 batch": {"model.name": "resnet8", "model.width": 4, "model.norm": "batch"},
    "resnet8 group": {"model.name": "resnet8", "model.width": 4},
}
"""Small ones of each way in which a gradient is taken."""

WAYS: dict[str, Keys] = {
    **{name: {"engine.name": name} for name in ENGINES},
    "blocks of one": {"engine.block": 1},
    "captured": {"engine.name": "cohort", "engine.graphs": True},
    "launched": {"engine.name": "cohort", "engine.graphs": False},
}

MODELS: dict[str, Keys] = {
    "bisenetv2": {"data.name": "shapes", "data.size": 32, "model.width": 16},
    "lraspp": {"data.name": "shapes", "data.size": 32, "model.width": 0.25},
    "lstm": {"data.name": "tests.support.texts:Texts", "model.width": 8},
    "mobilenet_v2": {"model.width": 0.25},
    "transformer": {"data.name": "tests.support.texts:Texts", "model.width": 8, "model.dropout": 0.1},
    "unet": {"data.name": "shapes", "model.width": 4, "data.augment": "scale_crop"},
    "wide_resnet": {"model.depth": 10, "model.width": 1},
}
"""Keys of those that need some."""

FOR_TASKS: dict[str, Keys] = {
    "classification": {"model.name": "cnn", "model.channels": 4},
    "multilabel": {
        "data.name": "tests.support.labels:Signs",
        "data.partition": "iid",
        "data.clients": 8,
        "model.name": "mlp",
    },
    "regression": {"data.name": "diabetes", "model.name": "mlp"},
    "segmentation": {"data.name": "shapes", "model.name": "unet", "model.width": 4},
    "sequence": {"data.name": "tests.support.texts:Texts", "model.name": "lstm", "model.width": 8},
}
"""Data and a model for each task."""

PROBES: Keys = {
    "data.name": "synthetic",
    "data.samples_per_client": 20,
    "data.clients": 10,
    "data.size": 16,
    "data.test_samples": 100,
    "data.local_test": 0.2,
    "geometry.every": 1,
    "geometry.images": 20,
    "geometry.top": 1,
    "geometry.trace_vectors": 1,
    "diagnostics.every": 1,
    "local.every": 1,
    "attack.name": "pgd",
}

SWEEPS: dict[str, tuple[Keys, dict[str, list[float]]]] = {
    "asam": ({"client.name": "asam", **NETWORKS["mlp"]}, {"client.rho": [0.1, 0.2], "client.lr": [0.1, 0.05]}),
    "sam": ({"client.name": "sam", **NETWORKS["cnn"]}, {"client.lr": [0.1, 0.05, 0.01]}),
    "batch norm": ({"client.momentum": 0.5, **NETWORKS["resnet8 batch"]}, {"client.lr": [0.1, 0.05]}),
    "scaffold": ({"server.name": "scaffold", **NETWORKS["mlp"]}, {"client.lr": [0.1, 0.05]}),
}
"""Runs trained as one: what they share, and their numbers."""


WANTED = {"samon": "resnet8 group"}
"""Networks of optimisers that the smallest ones are not for."""


def optimisers_with_strategies() -> Iterator[tuple[str, str, Keys]]:
    """Every optimiser with every strategy, over precisions, augmentations and engines in turn, of small networks."""
    others = covering(["mlp", "cnn"], PRECISIONS, AUGMENTS, list(WAYS))
    for n, (optimiser, strategy) in enumerate(product(OPTIMISERS, STRATEGIES)):
        network, precision, augment, way = others[n % len(others)]
        network = WANTED.get(optimiser, network)
        own = {"client.name": optimiser, "server.name": strategy, "engine.precision": precision}
        yield optimiser, strategy, {**own, "data.augment": augment, **NETWORKS[network], **WAYS[way]}


def averaged(name: str) -> Keys:
    """A run with this average, from its first round on."""
    own = {"average.start": 0.0, "average.cycle": 1} if name == "swa" else {}
    return {"average.name": name, "rounds": 4, **own}


def model(name: str) -> Keys:
    """A short run of this model."""
    return {"model.name": name, "rounds": 3, "cohort": 2, "client.batch_size": 16, **MODELS.get(name, {})}


def models() -> list[str]:
    """All of them."""
    gone = MODELS.keys() - set(found(Model))
    assert not gone, f"there is no model {', '.join(sorted(gone))}"
    return found(Model)


def covering(*factors: Sequence[str]) -> list[tuple[str, ...]]:
    """Rows with a value of each factor, in which any two values of different factors meet at least once."""
    lacking = {
        ((i, one), (j, other))
        for (i, some), (j, more) in combinations(enumerate(factors), 2)
        for one, other in product(some, more)
    }
    rows = []
    while lacking:
        best = max(product(*factors), key=lambda row: sum(pair in lacking for pair in combinations(enumerate(row), 2)))
        lacking -= set(combinations(enumerate(best), 2))
        rows.append(best)
    return rows
