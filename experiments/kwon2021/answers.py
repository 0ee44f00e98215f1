"""What Kwon et al. 2021 say, put to the runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fedsam.experiments.kwon2021.settings import (
    BALLS,
    FACTOR,
    FACTORS,
    FEWER,
    IMAGES,
    NOISE,
    NORMS,
    PREFIXES,
    TEST_IMAGES,
    grid,
    noisy,
    rescaling,
)
from fedsam.reproduce.adaptive import BallSharpness, RescaledSharpness, rank_correlation
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.measurements import TrainingLoss
from fedsam.reproduce.results import Results

NAMED = {"adamw": "AdamW", "sam": "SAM"}


def error(results: Results, name: str, seed: int) -> float:
    """The share of test images that are wrong at the end."""
    return 1 - results.last(name, seed, "test_accuracy")


def under_noise(results: Results, name: str, than: str, seed: int, preset: Preset) -> float:
    """The mean over shares of wrong labels above 0 of the test error with one optimiser less that with another."""
    pairs = [(f"{noisy(share)} {name}", f"{noisy(share)} {than}") for share in NOISE[preset][1:]]
    return sum(error(results, one, seed) - error(results, other, seed) for one, other in pairs) / len(pairs)


def rescaled(results: Results, norm: str, ball: str, seed: int, preset: Preset) -> dict[str, list[float]]:
    """Loss and sharpness of the network that SGD found, for each of `FACTORS`."""
    up, down = rescaling(norm, preset)
    found: dict[str, list[float]] = results.measure(
        f"{norm} sgd", seed, RescaledSharpness(BALLS[ball], up, down, FACTORS, FEWER[preset])
    )
    return found


def change(values: Sequence[float]) -> float:
    """|ln of the number at c = `FACTOR` over that at c = 1|; not a number where one of them is not positive."""
    one, other = values[FACTORS.index(1.0)], values[FACTORS.index(FACTOR)]
    return abs(math.log(other / one)) if one > 0 and other > 0 else math.nan


def gaps(results: Results, preset: Preset, seed: int) -> dict[str, list[float]]:
    """Generalisation gap of the grid's models: of `loss`, test less training, and of `error`."""
    found: dict[str, list[float]] = {"loss": [], "error": []}
    for name in grid(preset):
        loss, accuracy = results.measure(name, seed, TrainingLoss(IMAGES[preset]))
        found["loss"].append(results.last(name, seed, "test_loss") - loss)
        found["error"].append(accuracy - results.last(name, seed, "test_accuracy"))
    return found


def sharpnesses(results: Results, ball: str, preset: Preset, seed: int) -> list[float]:
    """Of the grid's models."""
    return [float(results.measure(name, seed, BallSharpness(BALLS[ball], IMAGES[preset]))) for name in grid(preset)]


def claims(preset: Preset) -> list[Claim]:
    """What the paper says."""
    found = [*_generalisation(preset), *_noise(preset), *_invariance(preset), *_correlation(preset)]
    return [*found, *([] if preset == "cpu" else _translation())]


def _translation() -> list[Claim]:
    def better(than: str) -> Claim:
        def value(results: Results, seed: int) -> float:
            one, other = (results.last(f"translation {name}", seed, "test_bleu") for name in ("asam", than))
            return one - other

        measured = f"BLEU of translation asam less that of translation {than}"
        return Claim(f"ASAM translates better than {NAMED[than]}", "translation", measured, value, "above")

    return [better(than) for than in NAMED]


def _generalisation(preset: Preset) -> list[Claim]:
    def less(name: str, than: str, text: str, place: str = "abstract", published: str = "not available") -> Claim:
        def value(results: Results, seed: int) -> float:
            return error(results, name, seed) - error(results, than, seed)

        measured, step = f"test error of {name} less that of {than}", 1 / TEST_IMAGES[preset]
        return Claim(text, place, measured, value, "below", published=published, step=step)

    scaled = "Scaling the weights alone generalises better than scaling biases too"
    where = "the author, issue 37 of davda54/sam"
    found = []
    for prefix in PREFIXES[preset]:
        on, batch = " (CIFAR-100)" if prefix else "", f"{prefix}batch"
        found += [
            less(f"{batch} asam", f"{batch} sgd", f"With BatchNorm ASAM generalises better than SGD{on}"),
            less(f"{batch} asam", f"{batch} sam", f"With BatchNorm ASAM generalises better than SAM{on}"),
        ]
    return [
        *found,
        less("none asam", "none sgd", "Without normalisation ASAM generalises better than SGD"),
        less("none asam", "none sam", "Without normalisation ASAM generalises better than SAM"),
        less("batch asam", "batch asam-all", scaled, where, "-0.0018 with WRN-16-8"),
    ]


def _noise(preset: Preset) -> list[Claim]:
    first, *_, last = NOISE[preset][1:]
    return [
        Claim(
            f"ASAM{with_all} withstands wrong labels better than {than.upper()}",
            "experiments with label noise",
            f"test error of {name} less that of {than}, mean over {100 * first:g} % to {100 * last:g} % of wrong labels",
            lambda r, s, name=name, than=than: under_noise(r, name, than, s, preset),  # type: ignore[misc]
            "below",
            step=1 / TEST_IMAGES[preset] / (len(NOISE[preset]) - 1),
        )
        for name, with_all in (("asam", ""), ("asam-all", " with every parameter scaled"))
        for than in ("sgd", "sam")
    ]


def _invariance(preset: Preset) -> list[Claim]:
    def over(choose: Callable[..., float], ball: str, results: Results, seed: int) -> float:
        return choose(change(rescaled(results, norm, ball, seed, preset)["sharpness"]) for norm in NORMS)

    def moved(results: Results, seed: int) -> float:
        return max(change(rescaled(results, norm, "sharpness", seed, preset)["loss"]) for norm in NORMS)

    which = "of batch sgd and of none sgd, in each block one layer times 3 and the next by 3"
    return [
        Claim(
            "A trained network can be rescaled without changing its loss",
            "abstract",
            f"absolute logarithm of the factor by which the training loss changes, the larger {which}",
            moved,
            "below",
            0.0001,
        ),
        Claim(
            "Its sharpness changes",
            "abstract",
            f"absolute logarithm of the factor by which it changes, the smaller {which}",
            lambda r, s: over(min, "sharpness", r, s),
            "above",
            0.5,
        ),
        Claim(
            "Its adaptive sharpness, with every parameter scaled, does not",
            "abstract",
            f"absolute logarithm of the factor by which it changes, the larger {which}",
            lambda r, s: over(max, "adaptive, all", r, s),
            "below",
            0.0001,
        ),
    ]


def _correlation(preset: Preset) -> list[Claim]:
    def tau(results: Results, ball: str, gap: str, seed: int) -> float:
        return rank_correlation(sharpnesses(results, ball, preset, seed), gaps(results, preset, seed)[gap])

    found = []
    for gap in ("loss", "error"):
        found += [
            Claim(
                f"Adaptive sharpness goes with the generalisation gap in {gap}",
                "abstract, generalisation bound",
                "Kendall's τ over the models of grid",
                lambda r, s, gap=gap: tau(r, "adaptive, all", gap, s),  # type: ignore[misc]
                "above",
            ),
            Claim(
                f"It does more so than sharpness does, in {gap}",
                "abstract, generalisation bound",
                "τ of adaptive sharpness less τ of sharpness",
                lambda r, s, gap=gap: tau(r, "adaptive, all", gap, s) - tau(r, "sharpness", gap, s),  # type: ignore[misc]
                "above",
            ),
        ]
    return found
