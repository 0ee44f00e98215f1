"""What Zhou et al. 2025 say, put to the runs."""

from __future__ import annotations

import math

from fedsam.experiments.zhou2025.settings import IMAGES, LATE, PREFIXES, TEST_IMAGES, first_steps, percent, plain
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.measurements import LambdaMax, LineTo, barrier
from fedsam.reproduce.results import Results

ABSENT = "not available"


def error(results: Results, name: str, seed: int, field: str = "test_accuracy") -> float:
    """The share of test images that are wrong at the end."""
    return 1 - results.last(name, seed, field)


def loss(results: Results, name: str, seed: int) -> float:
    """The test loss at the end."""
    return results.last(name, seed, "test_loss")


def beyond(results: Results, name: str, seed: int, share: float, prefix: str = "") -> float:
    """The test loss less what it would be if such a share of the gap between SGD and SAM were closed; below 0 where
    more of it is. (The share itself has no meaning where SAM is no better.)
    """
    sgd, sam = loss(results, f"{prefix}sgd", seed), loss(results, f"{prefix}sam", seed)
    return loss(results, prefix + name, seed) - ((1 - share) * sgd + share * sam)


def flatness(results: Results, name: str, than: str, seed: int, preset: Preset) -> float:
    """λ1 of a run over λ1 of another."""
    curvature = LambdaMax(IMAGES[preset])
    return float(results.measure(name, seed, curvature) / results.measure(than, seed, curvature))


def escape(results: Results, seed: int, preset: Preset, prefix: str = "") -> float:
    """The logarithm of the factor by which SAM's first steps raise the training loss."""
    found = results.measure(f"{prefix}sgd", seed, first_steps(preset, "sam"))["loss"]
    return math.log(found[-1] / found[0])


def recovered(results: Results, name: str, seed: int, preset: Preset) -> float:
    """Of what adversarial training gains in robust accuracy, the share that is gained."""
    sgd, full, late = (results.last(of, seed, "robust_accuracy") for of in (plain(preset), "at", name))
    return (late - sgd) / (full - sgd) if full > sgd else math.nan


def claims(preset: Preset) -> list[Claim]:
    """What the paper says."""
    late = [claim for prefix in PREFIXES[preset] for claim in (*_gap(preset, prefix), *_phases(preset, prefix))]
    return [*late, *_adversarial(preset)]


def _published(preset: Preset, prefix: str, first: str, second: str = ABSENT) -> str:
    """The number for CIFAR-10 and the one for CIFAR-100, or the one of the data set of these runs."""
    if preset == "paper":
        return second if prefix else first
    return first if second == ABSENT else f"{first}; {second} with CIFAR-100 and WRN-28-10"


def _on(prefix: str) -> str:
    return " (CIFAR-100)" if prefix else ""


def _gap(preset: Preset, prefix: str) -> list[Claim]:
    one, on = percent(LATE[preset][0]), _on(prefix)
    return [
        Claim(
            f"SAM in the last 10 % of the epochs generalises better than SGD{on}",
            "Figure 2, SAM in the last 12.5 %",
            f"test error of {prefix}sgd-sam 10% less that of {prefix}sgd",
            lambda r, s: error(r, f"{prefix}sgd-sam 10%", s) - error(r, f"{prefix}sgd", s),
            "below",
            published=ABSENT if prefix else "-0.0115",
            step=1 / TEST_IMAGES[preset],
        ),
        Claim(
            f"It closes most of the gap in test loss to SAM throughout{on}",
            "Figure 3",
            f"test loss of {prefix}sgd-sam 10% less 0.2 of that of {prefix}sgd and 0.8 of that of {prefix}sam",
            lambda r, s: beyond(r, "sgd-sam 10%", s, 0.8, prefix),
            "below",
            published=_published(preset, prefix, "-0.0069", "-0.017"),
        ),
        Claim(
            f"A single epoch of SAM at the end closes more than half of it{on}",
            "Figure 3",
            f"test loss of {prefix}sgd-sam {one} less half of that of {prefix}sgd and half of that of {prefix}sam",
            lambda r, s: beyond(r, f"sgd-sam {one}", s, 0.5, prefix),
            "below",
            published=_published(preset, prefix, "-0.014", "-0.045"),
        ),
        Claim(
            f"SAM in the last 10 % ends in a flatter minimum than SGD{on}",
            "Figure 3",
            f"λ1 of {prefix}sgd-sam 10% over λ1 of {prefix}sgd",
            lambda r, s: flatness(r, f"{prefix}sgd-sam 10%", f"{prefix}sgd", s, preset),
            "below",
            1.0,
            _published(preset, prefix, "0.40", "0.26"),
        ),
        Claim(
            f"SAM in the first 90 % and SGD after it loses most of what SAM gains{on}",
            "Figure 7",
            f"test loss of {prefix}sam-sgd 90% less half of that of {prefix}sgd and half of that of {prefix}sam",
            lambda r, s: beyond(r, "sam-sgd 90%", s, 0.5, prefix),
            "above",
            published="test error above that of SAM by "
            + _published(preset, prefix, "0.010 to 0.0145", "0.038 to 0.046"),
        ),
        Claim(
            f"SAM in the last 10 % ends flatter than SAM in the first 90 %{on}",
            "Figures 3 and 7",
            f"λ1 of {prefix}sgd-sam 10% over λ1 of {prefix}sam-sgd 90%",
            lambda r, s: flatness(r, f"{prefix}sgd-sam 10%", f"{prefix}sam-sgd 90%", s, preset),
            "below",
            1.0,
            _published(preset, prefix, "0.36 to 0.52", "0.11 to 0.18"),
        ),
    ]


def _phases(preset: Preset, prefix: str) -> list[Claim]:
    on, line = _on(prefix), LineTo(f"{prefix}sgd", IMAGES[preset])
    return [
        Claim(
            f"SAM leaves the minimum that SGD found exponentially fast{on}",
            "Figure 5",
            f"logarithm of the factor by which the training loss grows in 8 steps of SAM from the end of {prefix}sgd",
            lambda r, s: escape(r, s, preset, prefix),
            "above",
            published="7.4 (model and data not stated)",
        ),
        Claim(
            f"It stays in the same valley: no barrier on the line between the ends{on}",
            "Figure 6",
            f"highest training loss on the line from {prefix}sgd-sam 10% to {prefix}sgd, less that at its higher end",
            lambda r, s: barrier(r.measure(f"{prefix}sgd-sam 10%", s, line)),
            "below",
            0.01,
        ),
    ]


def _adversarial(preset: Preset) -> list[Claim]:
    return [
        Claim(
            "Adversarial training in the last 10 % is about as robust as throughout",
            "Figure 8",
            "share of the gain in robust accuracy reached by sgd-at 10%",
            lambda r, s: recovered(r, "sgd-at 10%", s, preset),
            "above",
            0.9,
            "0.99",
        ),
        Claim(
            "It costs no more clean accuracy than adversarial training throughout",
            "Figure 8",
            "test error of sgd-at 10% less that of at",
            lambda r, s: error(r, "sgd-at 10%", s) - error(r, "at", s),
            "below",
            0.01,
            "0.005",
            1 / TEST_IMAGES[preset],
        ),
    ]
