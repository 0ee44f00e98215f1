"""The claims of Coldenhoff et al. 2022."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from fedsam.experiments.coldenhoff2022.published import CURVES, LOSSES, TABLE_1, TABLE_2, number
from fedsam.experiments.coldenhoff2022.settings import BATCHES, TEST_IMAGES
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.first_layer import FirstLayer
from fedsam.reproduce.results import Results


def accuracy(results: Results, name: str, seed: int) -> float:
    """On the test images, after the last epoch."""
    return results.last(name, seed, "test_accuracy")


def best(results: Results, name: str, seed: int) -> float:
    """On the test images, after the epoch in which it is highest."""
    return float(max(record["test_accuracy"] for record in results.records(name, seed)))


def loss(results: Results, name: str, seed: int) -> float:
    """The mean loss of the last epoch's mini-batches, each before its step."""
    return results.last(name, seed, "train_loss")


def gain(results: Results, size: int, seed: int) -> float:
    """What SAM has in accuracy more than SGD after the last epoch."""
    return accuracy(results, f"sam {size}", seed) - accuracy(results, f"sgd {size}", seed)


def fit(results: Results, name: str, than: str, seed: int) -> float:
    """The natural logarithm of a run's training loss over another's."""
    return math.log(loss(results, name, seed) / loss(results, than, seed))


def claims(preset: Preset) -> list[Claim]:
    """What the paper says."""
    return [*_at_batch_sizes(preset), *_without_norm(preset)]


def _at_batch_sizes(preset: Preset) -> list[Claim]:
    sizes = BATCHES[preset]
    better = Claim(
        "SAM generalises better than SGD",
        "Table I, means of its seeds",
        "best test accuracy of sam 128 less that of sgd 128",
        lambda r, s: best(r, "sam 128", s) - best(r, "sgd 128", s),
        "above",
        published=number(np.mean([sam - sgd for sam, sgd in TABLE_1.values()]) / 100),
    )
    everywhere = [
        Claim(
            "It gains 5 points or more at every batch size",
            "batch sizes, text",
            "the smallest of these differences",
            lambda r, s: min(gain(r, size, s) for size in sizes),
            "above",
            0.05,
            "0.05 to 0.1",
        ),
        Claim(
            "It gains 10 points or less at every batch size",
            "batch sizes, text",
            "the largest of these differences",
            lambda r, s: max(gain(r, size, s) for size in sizes),
            "below",
            0.1,
            "0.05 to 0.1",
        ),
    ]
    smaller = [_smaller(name, place, sizes[0], sizes[-1]) for place, name in enumerate(("sam", "sgd"))]
    of_accuracy = [better, *map(_gains, sizes), *everywhere, *smaller]
    return [*(replace(claim, step=1 / TEST_IMAGES[preset]) for claim in of_accuracy), *map(_fits, sizes)]


def _gains(size: int) -> Claim:
    sam, sgd = CURVES[size]
    return Claim(
        f"It does at batch size {size}",
        "batch sizes, the authors' CSV files",
        f"test accuracy of sam {size} less that of sgd {size}",
        lambda r, s: gain(r, size, s),
        "above",
        published=number((sam - sgd) / 100),
    )


def _smaller(name: str, place: int, first: int, last: int) -> Claim:
    return Claim(
        f"{name.upper()} generalises better with smaller batches",
        "batch sizes, the authors' CSV files",
        f"test accuracy of {name} {first} less that of {name} {last}",
        lambda r, s: accuracy(r, f"{name} {first}", s) - accuracy(r, f"{name} {last}", s),
        "above",
        published=number((CURVES[first][place] - CURVES[last][place]) / 100),
    )


def _fits(size: int) -> Claim:
    sam, sgd = LOSSES[size]
    side: Literal["above", "below"] = "below" if sam < sgd else "above"
    return Claim(
        f"At batch size {size} SAM's training loss ends {side} SGD's",
        "batch sizes, text",
        f"ln of the training loss of sam {size} over that of sgd {size}",
        lambda r, s: fit(r, f"sam {size}", f"sgd {size}", s),
        side,
        published=number(math.log(sam / sgd)),
    )


def _without_norm(preset: Preset) -> list[Claim]:
    layer = FirstLayer()
    return [
        Claim(
            "Without BatchNorm ASAM generally performs better than SAM",
            "conclusion; the number is that of Table II's means",
            "test accuracy of plain asam less that of plain sam",
            lambda r, s: accuracy(r, "plain asam", s) - accuracy(r, "plain sam", s),
            "above",
            published=number(np.mean([row[2] - row[0] for row in TABLE_2.values()]) / 100),
            step=1 / TEST_IMAGES[preset],
        ),
        Claim(
            "SAM fits the training data more closely than ASAM",
            "Table II, mean of the three logarithms",
            "ln of the training loss of plain asam over that of plain sam",
            lambda r, s: fit(r, "plain asam", "plain sam", s),
            "above",
            published=number(np.mean([math.log(row[3] / row[1]) for row in TABLE_2.values()])),
        ),
        Claim(
            "Without BatchNorm the first layer's weights have heavier tails",
            "histograms of the first convolution",
            "excess kurtosis of plain sam's first layer less that of plain sam batchnorm's",
            lambda r, s: float(
                r.measure("plain sam", s, layer)["kurtosis"] - r.measure("plain sam batchnorm", s, layer)["kurtosis"]
            ),
            "above",
        ),
    ]
