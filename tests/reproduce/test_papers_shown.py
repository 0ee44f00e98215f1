"""What the papers' claims, figures and tables ask for: every run that is trained is shown, with the right numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from experiments import coldenhoff2022, kwon2021, mordido2024, zhou2025
from experiments.mordido2024 import answers as mordido
from fedsam.reproduce.adaptive import BallSharpness, RescaledSharpness
from fedsam.reproduce.base import PRESETS, Preset
from fedsam.reproduce.figures import as_csv
from fedsam.reproduce.first_layer import FirstLayer
from fedsam.reproduce.measurements import (
    FirstSteps,
    LambdaMax,
    LineTo,
    Measure,
    NoisyAccuracy,
    Sharpness,
    TestAccuracy,
    TrainingLoss,
)

PAPERS: list[Any] = [coldenhoff2022, kwon2021, mordido2024, zhou2025]
MEASURED: dict[type[Measure], Callable[[Any], Any]] = {
    LambdaMax: lambda measure: 1.0,
    LineTo: lambda measure: {"t": [0.0, 1.0], "loss": [1.0, 1.0], "accuracy": [1.0, 1.0]},
    FirstSteps: lambda measure: {"loss": [1.0, 1.0], "accuracy": [1.0, 1.0]},
    TestAccuracy: lambda measure: 0.5,
    TrainingLoss: lambda measure: [1.0, 0.5],
    Sharpness: lambda measure: [1.0] * len(measure.radii),
    NoisyAccuracy: lambda measure: [0.5] * len(measure.sigmas),
    BallSharpness: lambda measure: 1.0,
    RescaledSharpness: lambda measure: {
        "loss": [1.0] * len(measure.factors),
        "sharpness": [1.0] * len(measure.factors),
    },
    FirstLayer: lambda measure: {"z": [0.0], "density": [1.0], "kurtosis": 0.0},
}


class Asked:
    """Results that note which runs are asked for."""

    def __init__(self, preset: Preset) -> None:
        self.seeds, self.names, self.preset = [1, 2], set[str](), preset

    def last(self, name: str, seed: int, field: str) -> float:
        self.names.add(name)
        return 0.5

    def records(self, name: str, seed: int) -> list[dict[str, float]]:
        self.names.add(name)
        return [{"round": 1, "test_accuracy": 0.5}]

    def curve(self, name: str, field: str) -> tuple[list[float], list[list[float]]]:
        self.names.add(name)
        return [1.0], [[0.5]] * 2

    def measure(self, name: str, seed: int, measure: Measure) -> Any:
        self.names |= {name, *measure.others}
        return MEASURED[type(measure)](measure)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("module", PAPERS, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_every_run_is_shown(module: Any, preset: Preset) -> None:
    results: Any = Asked(preset)
    claims = module.claims(preset)
    assert len({claim.text for claim in claims}) == len(claims)
    for claim in claims:
        claim.value(results, 1)
    for make in module.figures(preset).values():
        assert as_csv(make(results)).count("\n") > 1
    for rows in getattr(module, "tables", lambda preset: {})(preset).values():
        rows(results)
    assert set(module.runs(preset)) == results.names


def published(module: Any, text: str, preset: Preset = "cpu") -> str:
    (found,) = [claim.published for claim in module.claims(preset) if claim.text == text]
    return str(found)


def test_what_zhou_et_al_published_is_computed_from_their_figures() -> None:
    flatter = "SAM in the last 10 % ends flatter than SAM in the first 90 %"
    low, high = (f"{low:.2f} to {high:.2f}" for low, high in ((14 / 39, 14 / 27), (15.5 / 145, 15.5 / 85)))
    assert published(zhou2025, flatter) == f"{low}; {high} with CIFAR-100 and WRN-28-10"
    assert published(zhou2025, flatter, "paper") == low
    assert published(zhou2025, f"{flatter} (CIFAR-100)", "paper") == high
    lost = "SAM in the first 90 % and SGD after it loses most of what SAM gains"
    assert published(zhou2025, lost, "paper") == "test error above that of SAM by 0.010 to 0.0145"
    assert published(zhou2025, f"{lost} (CIFAR-100)", "paper") == "test error above that of SAM by 0.038 to 0.046"


def test_shares_of_sam_lie_from_none_to_all() -> None:
    panels = zhou2025.figures("cpu")
    for name, first, last in (("fig3-late", 0.5, 80), ("fig7-early", 5, 97.5)):
        x = list(panels[name](Asked("cpu"))[0].lines["runs"][0])  # type: ignore[arg-type]
        assert x == sorted(x)
        assert (x[0], x[1], x[-2], x[-1]) == (0, first, last, 100)


def test_one_radius_is_no_range() -> None:
    texts = {preset: [claim.text for claim in mordido2024.claims(preset)] for preset in PRESETS}
    ranged = "It is better than SAM over a range of radii"
    assert [ranged in texts[preset] for preset in PRESETS] == [True, False, True]


class Turned(Asked):
    """Accuracies by hand: 0.9 right after a task, and 0.1 less for each task since."""

    def last(self, name: str, seed: int, field: str) -> float:
        return 0.9

    def measure(self, name: str, seed: int, measure: Any) -> Any:
        return 0.9 - 0.1 * (int(name[-1]) - int(measure.on[-1]))


def test_forgetting_by_hand() -> None:
    results: Any = Turned("cpu")
    assert mordido.accuracies(results, "sam", 1) == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert mordido.forgotten(results, "sam", 1) == pytest.approx((0.3 + 0.2 + 0.1) / 3)
    (first, *_, last) = mordido2024.figures("cpu")["tasks"](results)[1].lines.values()
    assert list(first[0]) == [1, 2, 3, 4]
    np.testing.assert_allclose(first[1], [[0.9, 0.8, 0.7, 0.6]] * 2)
    assert (list(last[0]), last[1]) == ([4], [[0.9]] * 2)
    drawn = mordido2024.figures("cpu")["forgetting"](results)
    assert drawn[0].lines["runs"][1][0] == pytest.approx([0.2] * 5)
    assert drawn[1].lines["runs"][1][0] == pytest.approx([0.75] * 5)


def test_gains_are_tested_at_both_ends() -> None:
    accuracy = {"sam 16": 0.8, "sam 64": 0.6, "sam 128": 0.52}

    class Gains(Asked):
        def last(self, name: str, seed: int, field: str) -> float:
            return accuracy.get(name, 0.5)

    results: Any = Gains("cpu")
    ends = [claim for claim in coldenhoff2022.claims("cpu") if " points or " in claim.text]
    assert [(claim.side, claim.limit, claim.value(results, 1)) for claim in ends] == [
        ("above", 0.05, pytest.approx(0.02)),
        ("below", 0.1, pytest.approx(0.3)),
    ]


@pytest.mark.parametrize("module", PAPERS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_claims_of_accuracy_know_how_finely_it_is_measured(module: Any) -> None:
    for preset, images in (("cpu", 397), ("gpu", 10_000), ("paper", 10_000)):
        claims = module.claims(preset)
        plain = [claim for claim in claims if claim.measured.startswith(("test error of", "test accuracy of"))]
        assert plain
        for claim in plain:
            parts = len(kwon2021.settings.NOISE[preset]) - 1 if ", mean over" in claim.measured else 1  # type: ignore[index]
            assert claim.step == pytest.approx(1 / images / parts), claim.text
