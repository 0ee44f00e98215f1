"""Every paper in `experiments/`: each of its runs can be trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.caldarola2022.tasks import COUNTRY
from experiments.kwon2021.translation import Translation
from fedsam import Run
from fedsam.data import cifar10, cifar100
from fedsam.data.base import Split
from fedsam.data.images.listed import Listed
from fedsam.data.images.spec import ImageSpec
from fedsam.data.stored import Partitioned
from fedsam.federated.simulate import simulate
from fedsam.models.base import Model
from fedsam.reproduce.base import PRESETS, Preset, paper, papers
from fedsam.reproduce.carry_out import begins_with
from fedsam.reproduce.continued import Continued
from tests.support.narrow import narrow
from tests.support.papers import toy

EVERY = [(bibkey, preset) for bibkey in papers() for preset in PRESETS]

SIDE = {"cnn": 16}
"""Of the images in place of CIFAR's, by model; 8 for the others."""
LARGE = ("resnet18", "resnet18_imagenet", "resnet34", "resnet50", "wide_resnet")
"""Models that are trained one client at a time as large as they are, so also when they are made narrow."""


@cache
def runs_of(bibkey: str, preset: Preset) -> dict[str, Run]:
    return paper(bibkey).runs(preset)


@cache
def made(spec: ImageSpec, side: int) -> tuple[ImageSpec, Split, Split]:
    rng, shape = np.random.default_rng(0), (side, side, 3)
    train, test = (
        Split(rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % spec.classes).read_only()
        for n in (200, 8)
    )
    return replace(spec, shape=shape), train, test


DOMAINS = ("T01_CN_A", "T02_CS_B", *COUNTRY.split(","))
WHOLE = {"data.samples_per_client": None}
SMALLER: dict[str, dict[str, Any]] = {
    "shapes": WHOLE | {"data.size": 8, "data.domain_samples": 8, "data.domain_test_samples": 2},
    "cityscapes": WHOLE,
    "idda": WHOLE,
    "landmarks": WHOLE,
    "fedsam.experiments.kwon2021.translation:Translation": {"data.length": 8},
}
"""By data set, what makes a toy of it."""


def scenes(self: Any) -> tuple[ImageSpec, Split, Split]:
    """Two training images of each domain and a test image, with masks where they are for segmentation."""
    rng, own = np.random.default_rng(0), np.arange(len(DOMAINS))
    masks: dict[str, Any] = {"target_shape": (64, 64), "ignore": 255} if self.task == "segmentation" else {}
    parts = []
    for groups in (own.repeat(2), own):
        images = rng.integers(0, 256, (len(groups), 64, 64, 3), dtype=np.uint8)
        parts.append(Split(images, images[..., 0] % 16 if masks else groups % 16, groups).read_only())
    return ImageSpec(16, (64, 64, 3), (0.5,) * 3, (0.3,) * 3, groups=DOMAINS, **masks), parts[0], parts[1]


def sentences(self: Any, which: str) -> list[tuple[str, str]]:
    return [(f"der hund {n}", f"the dog {n}") for n in range(4)]


def trained(run: Run, monkeypatch: pytest.MonkeyPatch, **others: Any) -> int:
    """How many rounds a toy of the run completes.

    Instead of CIFAR-10 and CIFAR-100 there are 200 training and 8 test images, all classes alike, instead of other
    files what `scenes` and `sentences` make.
    """
    side = SIDE.get(run.model.name, 8)
    with monkeypatch.context() as changed:
        changed.setattr(cifar10.CIFAR10, "_read", lambda self: made(cifar10.SPEC, side))
        changed.setattr(cifar100.CIFAR100, "read", lambda self: made(cifar100.SPEC, side))
        changed.setattr(Listed, "read", scenes)
        changed.setattr(Listed, "load", Partitioned.load)
        changed.setattr(Translation, "_pairs", sentences)
        return int(simulate(toy(run, **SMALLER.get(run.data.name, {}), **others)).metrics[-1]["round"])


def splits(runs: Iterable[Run], folder: Path) -> None:
    """The files of index lists that the runs name, each client with two positions."""
    named = {run.keys().get("data.split_file", "") for run in runs} - {""}
    assert {name.partition(":")[0] for name in named} <= {"fedsam_eccv2022.npz"}
    table = np.arange(200).reshape(2, 100).T
    if named:
        np.savez(folder / "fedsam_eccv2022.npz", **{name.partition(":")[2]: table for name in sorted(named)})


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_every_run_completes_a_round(
    bibkey: str, preset: Preset, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = runs_of(bibkey, preset)
    splits(found.values(), inside)
    narrow(monkeypatch, depth=1)
    before = {name: begins_with(run) for name, run in found.items()}
    for name, run in found.items():
        first = {"model.of": str(inside / str(before[name]))} if before[name] else {}
        out = {"out": str(inside / name)} if before[name] or name in before.values() else {}
        smaller = {"model.channels": 8} if run.model.name == "cnn" else {}
        engine = {"engine.name": "loop"} if run.model.name in LARGE else {}
        assert trained(run, monkeypatch, **first, **out, **smaller, **engine) == 1, name


def test_every_model_completes_a_round_as_large_as_it_is(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[Model, Run] = {}
    for run in (run for bibkey, preset in EVERY for run in runs_of(bibkey, preset).values()):
        first.setdefault(run.model, run)
    splits(first.values(), inside)
    for model, run in first.items():
        if not isinstance(model, Continued):
            assert trained(run, monkeypatch) == 1, model
