"""The paper's other tasks: street scenes, a town that no client has, landmarks; in `cpu` drawn shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedsam.experiments import shapes
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.results import Results

Keys = dict[str, Any]
COUNTRY = ",".join(
    f"T07_{weather}_{car}" for weather in ("CN", "CS", "HRN") for car in "ABJMV" if (weather, car) != ("CN", "M")
)
"""The domains of IDDA's country town, of which FedDrive's clients have none; there is none of `T07_CN_M`."""

SCENES: Keys = {"data.augment": "scale_crop", "model.name": "bisenetv2", "model.norm": "batch"}
SCENES |= {"task.name": "segmentation", "task.hardest": 0.25, "task.auxiliary_weight": 1.0}
SCENES |= {"client.momentum": 0.9, "client.batch_size": 16, "client.epochs": 2}
CITYSCAPES: Keys = {"data.name": "cityscapes", "data.users": "heterogeneous", "client.lr": 0.05}
CITYSCAPES |= {"data.augment": "colour_jitter", "data.jitter_after": "scale_crop", "data.scale_most": 1.5}
CITYSCAPES |= {"client.weight_decay": 5e-4}
IDDA: Keys = {"data.name": "idda", "data.unseen": COUNTRY, "client.lr": 0.1}
LANDMARKS: Keys = {"data.name": "landmarks", "data.augment": "crop_flip", "model.name": "mobilenet_v2"}
LANDMARKS |= {"client.lr": 0.1, "client.batch_size": 64, "client.epochs": 1, "cohort": 10}

PARTS: dict[str, tuple[Keys, dict[Preset, Keys]]] = {
    "cityscapes": (SCENES | CITYSCAPES, {"gpu": {"data.size": "256x512", "rounds": 400}, "paper": {"rounds": 1600}}),
    "country": (SCENES | IDDA, {"gpu": {"data.size": "256x464", "rounds": 400}, "paper": {"rounds": 1600}}),
    "landmarks": (LANDMARKS, {"gpu": {"data.size": "96", "rounds": 1000}, "paper": {"rounds": 5000}}),
}
"""By what names of runs begin with: its keys, and what presets set beside."""
OFTEN: Keys = {"cohort": 5, "evaluate_every": 50, "evaluate_last": 100, "seed": 1}
FEW = "fedavg", "fedasam", "fedasam+swa"

STREETS = (
    ("Cityscapes", "cityscapes", "test_miou"),
    ("IDDA, towns that clients have", "country", "test_miou"),
    ("IDDA, a town that no client has", "country", "unseen_miou"),
    ("Landmarks-User-160k", "landmarks", "test_accuracy"),
)
DRAWN = (
    ("drawn shapes, domains that clients have", "shapes", "test_miou"),
    ("drawn shapes, domains that no client has", "shapes", "unseen_miou"),
)
SCORES: dict[Preset, tuple[tuple[str, str, str], ...]] = {"cpu": DRAWN, "gpu": STREETS, "paper": STREETS}
"""Where the model is tested, the part's name, and what is recorded of it."""


def cells(preset: Preset, methods: tuple[str, ...], client: Callable[[str, float, float], Keys]) -> dict[str, Keys]:
    """The keys of every run.

    Args:
        methods: of `paper`; the others have `FEW`.
        client: the keys of a method with radii of SAM and ASAM.
    """
    if preset == "cpu":
        named = zip(FEW, shapes.settings(None).values(), strict=True)
        return {f"shapes {method}": run.keys() | {"seed": 1, "engine.threads": 1} for method, run in named}
    return {
        f"{part} {method}": OFTEN | keys | beside[preset] | client(method, 0.02, 0.05)
        for part, (keys, beside) in PARTS.items()
        for method in (methods if preset == "paper" else FEW)
    }


def score(results: Results, name: str, seed: int, field: str) -> float:
    """The mean over the last rounds."""
    return results.mean(name, seed, field, results.run(name, seed).evaluate_last)


def rows(preset: Preset, methods: tuple[str, ...]) -> dict[str, dict[str, Callable[[Results, int], float]]]:
    """Percentages of each method, by where it is tested."""

    def cell(name: str, field: str) -> Callable[[Results, int], float]:
        return lambda results, seed: 100 * score(results, name, seed, field)

    return {
        method: {where: cell(f"{part} {method}", field) for where, part, field in SCORES[preset]}
        for method in (methods if preset == "paper" else FEW)
    }


def claims(preset: Preset) -> list[Claim]:
    """That FedASAM with SWA is better in each of these places; none of `cpu`, which was measured before."""
    return [] if preset == "cpu" else [_better(*each) for each in SCORES[preset]]


def _better(where: str, part: str, field: str) -> Claim:
    ours, other = f"{part} fedasam+swa", f"{part} fedavg"
    measured = f"{field} of {ours} less that of {other}"

    def value(results: Results, seed: int) -> float:
        return score(results, ours, seed, field) - score(results, other, seed, field)

    return Claim(f"It is better on {where}", "abstract", measured, value, "above")
