"""The tables and figures of Coldenhoff et al. 2022, theirs beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedsam.experiments.coldenhoff2022.answers import accuracy, best, loss
from fedsam.experiments.coldenhoff2022.published import CURVES, LOSSES, TABLE_1, TABLE_2
from fedsam.experiments.coldenhoff2022.settings import BATCHES, WITHOUT
from fedsam.reproduce.base import Preset
from fedsam.reproduce.beside import Rows, spread
from fedsam.reproduce.figures import Line, Panel
from fedsam.reproduce.first_layer import FirstLayer
from fedsam.reproduce.results import Results


def tables(preset: Preset) -> dict[str, Callable[[Results], Rows]]:
    """The paper's tables, complete, with ours beside them."""
    return {
        "Table I: test accuracy (%) at batch size 128, of the epoch in which it is highest": _table_1,
        "Batch sizes: test accuracy (%) and training loss after the last epoch, mean (ours: ± standard deviation)": (
            lambda r: _sizes(r, BATCHES[preset])
        ),
        "Table II: test accuracy (%) and training loss (1e-5) without BatchNorm, after the last epoch": _table_2,
    }


def _table_1(results: Results) -> Rows:
    ours = {seed: tuple(100 * best(results, f"{name} 128", seed) for name in ("sam", "sgd")) for seed in results.seeds}
    return [["Table I", "SAM", "SGD"], *_by_seed(TABLE_1, "published", 2), *_by_seed(ours, "ours", 2)]


def _sizes(results: Results, sizes: Sequence[int]) -> Rows:
    columns = [f"{name}, {whose}" for whose in ("published", "ours") for name in ("SAM", "SGD", "SAM loss", "SGD loss")]
    rows = [["batch size", *columns]]
    for size in sizes:
        published = [f"{value:.2f}" for value in CURVES[size]] + [f"{value:g}" for value in LOSSES[size]]
        ours = [
            spread([scale * of(results, f"{name} {size}", seed) for seed in results.seeds], digits)
            for of, scale, digits in ((accuracy, 100, 2), (loss, 1, 4))
            for name in ("sam", "sgd")
        ]
        rows.append([str(size), *published, *ours])
    return rows


def _table_2(results: Results) -> Rows:
    ours = {
        seed: tuple(
            scale * of(results, name, seed) for name in WITHOUT for of, scale in ((accuracy, 100.0), (loss, 1e5))
        )
        for seed in results.seeds
    }
    header = ["Table II", "SAM", "SAM, loss", "ASAM", "ASAM, loss"]
    return [header, *_by_seed(TABLE_2, "published", 2), *_by_seed(ours, "ours", 2)]


def _by_seed(numbers: dict[int, Any], whose: str, digits: int) -> list[list[str]]:
    """A row for each seed, and their mean."""
    rows = [[f"{whose}, seed {seed}", *(f"{value:.{digits}f}" for value in row)] for seed, row in numbers.items()]
    return [*rows, [f"{whose}, mean", *(f"{value:.{digits}f}" for value in np.mean(list(numbers.values()), axis=0))]]


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """The paper's figures, of our runs."""
    pairs = [f"{name} {size}" for size in BATCHES[preset] for name in ("sam", "sgd")]
    return {
        "batch-sizes": lambda r: _curves(r, pairs),
        "without-batchnorm": lambda r: _curves(r, WITHOUT),
        "first-layer": _histograms,
    }


def _curves(results: Results, names: Sequence[str]) -> list[Panel]:
    def lines(field: str) -> dict[str, Line]:
        return {name: results.curve(name, field) for name in names}

    accuracies, losses = lines("test_accuracy"), lines("train_loss")
    return [
        Panel("epoch", "test accuracy", accuracies, share=True),
        Panel("epoch", "training loss", losses, log=True),
    ]


def _histograms(results: Results) -> list[Panel]:
    lines: dict[str, Line] = {}
    for name in ("plain sam", "plain asam", "plain sam batchnorm"):
        found = [results.measure(name, seed, FirstLayer()) for seed in results.seeds]
        lines[name] = found[0]["z"], [one["density"] for one in found]
    return [Panel("first-layer weight, in standard deviations", "density", lines)]
