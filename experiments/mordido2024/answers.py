"""What Mordido et al. 2024 say, put to the runs."""

from __future__ import annotations

import math

import numpy as np

from fedsam.experiments.mordido2024.settings import (
    ALPHA,
    PREFIXES,
    RADII,
    RHO,
    SIGMAS,
    TASKS,
    TEST_IMAGES,
    asam,
    lookbehind,
    lookbehind_asam,
    sam,
)
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.measurements import NoisyAccuracy, Sharpness, TestAccuracy
from fedsam.reproduce.results import Results


def error(results: Results, name: str, seed: int) -> float:
    """The share of test images that are wrong at the end."""
    return 1 - results.last(name, seed, "test_accuracy")


def accuracies(results: Results, method: str, seed: int, after: int = TASKS) -> list[float]:
    """Of the model after so many tasks, on each of these."""
    model = f"{method} task {after}"
    return [results.measure(model, seed, TestAccuracy(f"{method} task {task}")) for task in range(1, after + 1)]


def forgotten(results: Results, method: str, seed: int) -> float:
    """The mean over all tasks but the last of the accuracy right after the task less that after the last one."""
    right_after = [results.last(f"{method} task {task}", seed, "test_accuracy") for task in range(1, TASKS)]
    return float(np.mean(np.array(right_after) - accuracies(results, method, seed)[:-1]))


def sharper(results: Results, name: str, than: str, seed: int) -> float:
    """The mean over `RADII` of the logarithm of a run's sharpness over another's."""
    one, other = (np.array(results.measure(of, seed, Sharpness(RADII))) for of in (name, than))
    return float(np.mean(np.log(one / other))) if (one > 0).all() and (other > 0).all() else math.nan


def noisy(results: Results, name: str, than: str, seed: int) -> float:
    """The mean over `SIGMAS` above 0 of a run's accuracy under noise less another's."""
    one, other = (np.array(results.measure(of, seed, NoisyAccuracy(SIGMAS))) for of in (name, than))
    return float(np.mean((one - other)[1:]))


def claims(preset: Preset) -> list[Claim]:
    """What the paper says; where a claim names no numbers, they are k = 2, adaptive alpha and the radius of SAM."""
    found = []
    for prefix in PREFIXES[preset]:
        found += [*_generalisation(preset, prefix), *_sensitivity(preset, prefix), *_flatness(preset, prefix)]
    return [*found, *_forgetting(preset, "SAM"), *_forgetting(preset, "ASAM")]


def _on(prefix: str) -> str:
    return " (CIFAR-100)" if prefix else ""


def _generalisation(preset: Preset, prefix: str) -> list[Claim]:
    ours = lookbehind(preset, prefix=prefix)

    def better(text: str, than: str, place: str, name: str = ours) -> Claim:
        def value(results: Results, seed: int) -> float:
            return error(results, name, seed) - error(results, than, seed)

        measured = f"test error of {name} less that of {than}"
        return Claim(text + _on(prefix), place, measured, value, "below", step=1 / TEST_IMAGES[preset])

    around = "Lookbehind around ASAM generalises better than ASAM"
    return [
        better("Lookbehind around SAM generalises better than SAM", sam(preset, prefix), "section 4.2"),
        better(around, asam(preset, prefix), "section 4.2", lookbehind_asam(preset, prefix=prefix)),
        better("It generalises better than several steps of ascent alone", f"{prefix}multistep k=2", "baselines"),
        better("It generalises better than Lookahead around SAM", f"{prefix}lookahead k=2", "baselines"),
    ]


def _sensitivity(preset: Preset, prefix: str) -> list[Claim]:
    still = [alpha for alpha in ALPHA[preset] if alpha != "adaptive"]
    pairs = [(lookbehind(preset, 2, rho, prefix=prefix), f"{prefix}sam rho={rho:g}") for rho in RHO[preset]]

    def over_radii(results: Results, seed: int) -> float:
        return float(np.mean([error(results, one, seed) - error(results, other, seed) for one, other in pairs]))

    def untuned(results: Results, seed: int) -> float:
        best = min(error(results, lookbehind(preset, 2, None, alpha, prefix), seed) for alpha in still)
        return error(results, lookbehind(preset, prefix=prefix), seed) - best

    radii = Claim(
        f"It is better than SAM over a range of radii{_on(prefix)}",
        "sensitivity to rho",
        "mean over rho of the test error of lookbehind k=2 less that of sam",
        over_radii,
        "below",
        step=1 / TEST_IMAGES[preset] / len(pairs),
    )
    adaptive = Claim(
        f"Adaptive alpha needs no tuning{_on(prefix)}",
        "sensitivity to alpha",
        "test error with adaptive alpha less the lowest with a static one",
        untuned,
        "below",
        0.01,
        step=1 / TEST_IMAGES[preset],
    )
    return [radii, adaptive] if len(pairs) > 1 else [adaptive]  # one radius is no range


def _flatness(preset: Preset, prefix: str) -> list[Claim]:
    found = []
    for subject, name, than, label in (
        ("It", lookbehind(preset, prefix=prefix), sam(preset, prefix), "SAM"),
        ("Lookbehind around ASAM", lookbehind_asam(preset, prefix=prefix), asam(preset, prefix), "ASAM"),
    ):
        found += [
            Claim(
                f"{subject} ends in flatter minima than {label}, at several radii{_on(prefix)}",
                "section 4.3",
                f"mean over radii of log(sharpness / that of {label})",
                lambda r, s, name=name, than=than: sharper(r, name, than, s),  # type: ignore[misc]
                "below",
            ),
            Claim(
                f"{subject} stands noise in the weights better than {label}{_on(prefix)}",
                "section 4.4",
                f"mean over sigma > 0 of the accuracy under noise less that of {label}",
                lambda r, s, name=name, than=than: noisy(r, name, than, s),  # type: ignore[misc]
                "above",
            ),
        ]
    return found


def _forgetting(preset: Preset, label: str) -> list[Claim]:
    subject = "It" if label == "SAM" else "Lookbehind around ASAM"
    name, than = "lookbehind" if label == "SAM" else "lookbehind-asam", label.lower()
    step = 1 / TEST_IMAGES[preset]
    return [
        Claim(
            f"{subject} forgets less than {label} in a sequence of tasks",
            "section 4.5",
            f"forgetting less that of {label}",
            lambda r, s: forgotten(r, name, s) - forgotten(r, than, s),
            "below",
            step=step / (TASKS - 1),
        ),
        Claim(
            f"After the last task {subject.replace('It', 'it')} is more accurate than {label} over all tasks",
            "section 4.5",
            f"mean accuracy over tasks less that of {label}",
            lambda r, s: float(np.mean(accuracies(r, name, s)) - np.mean(accuracies(r, than, s))),
            "above",
            step=step / TASKS,
        ),
    ]
