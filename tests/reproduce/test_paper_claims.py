"""Claims of papers, by hand: numbers as runs would give them, and what must come of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedsam import Run
from fedsam.reproduce.base import paper
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.measurements import Measure, TestAccuracy
from fedsam.reproduce.results import Results
from fedsam.runs.records import Record
from fedsam.sweeps.sweep import Job


class Told(Results):
    """Results that are given, by run name; all seeds have the same.

    Args:
        told: fields of the last record of each run.
        measured: by name and class of a measurement, or, of an accuracy on another task, by both names.
    """

    def __init__(self, told: Mapping[str, Mapping[str, float]], measured: Mapping[tuple[str, str], Any] | None = None):
        super().__init__([], [1])
        self.told, self.measured = told, measured or {}

    def records(self, name: str, seed: int) -> list[Record]:
        return [{"test_accuracy": -9.0, "test_loss": -9.0, "robust_accuracy": -9.0}, dict(self.told[name])]

    def measure(self, name: str, seed: int, measure: Measure) -> Any:
        return self.measured[name, measure.on if isinstance(measure, TestAccuracy) else type(measure).__name__]


def claim(bibkey: str, text: str) -> Claim:
    return next(found for found in paper(bibkey).claims("cpu") if found.text.startswith(text))


# Zhou et al. 2025


LOSSES = {"sgd": {"test_loss": 1.0}, "sam": {"test_loss": 0.5}}


@pytest.mark.parametrize(("loss", "beyond"), [(0.6, 0.0), (0.55, -0.05), (0.9, 0.3)])
def test_four_fifths_of_the_gap_in_loss(loss: float, beyond: float) -> None:
    found = claim("zhou2025", "It closes most of the gap")
    assert found.value(Told(LOSSES | {"sgd-sam 10%": {"test_loss": loss}}), 1) == pytest.approx(beyond)
    assert (found.side, found.limit) == ("below", 0.0)


def test_half_of_the_gap_in_loss() -> None:
    late = claim("zhou2025", "A single epoch of SAM at the end")
    assert late.value(Told(LOSSES | {"sgd-sam 0.5%": {"test_loss": 0.7}}), 1) == pytest.approx(-0.05)
    early = claim("zhou2025", "SAM in the first 90 % and SGD after it")
    assert early.value(Told(LOSSES | {"sam-sgd 90%": {"test_loss": 0.9}}), 1) == pytest.approx(0.15)
    assert (late.side, early.side) == ("below", "above")


@pytest.mark.parametrize(("sgd", "share"), [(0.2, 0.75), (0.6, math.nan), (0.7, math.nan)])
def test_the_share_of_robustness(sgd: float, share: float) -> None:
    accuracies = {"sgd": sgd, "at": 0.6, "sgd-at 10%": 0.5}
    told = Told({name: {"robust_accuracy": value} for name, value in accuracies.items()})
    found = claim("zhou2025", "Adversarial training in the last 10 % is about as robust").value(told, 1)
    assert found == pytest.approx(share, nan_ok=True)


def test_the_escape_is_from_the_first_loss_to_the_last() -> None:
    told = Told({}, {("sgd", "FirstSteps"): {"loss": [0.01, 5.0, 0.01 * math.e**2], "accuracy": [1.0, 1.0, 1.0]}})
    assert claim("zhou2025", "SAM leaves the minimum").value(told, 1) == pytest.approx(2.0)


# Mordido et al. 2024


def sequence(method: str, after: list[float], at_last: list[float]) -> tuple[dict[str, Any], dict[Any, float]]:
    told = {f"{method} task {n}": {"test_accuracy": value} for n, value in enumerate(after, 1)}
    return told, {(f"{method} task 4", f"{method} task {n}"): value for n, value in enumerate(at_last, 1)}


def test_forgetting_is_over_all_tasks_but_the_last() -> None:
    ours, ours_last = sequence("lookbehind", [0.9, 0.8, 0.7, 0.6], [0.3, 0.5, 0.4, 0.6])  # 0.6, 0.3, 0.3 forgotten
    sam, sam_last = sequence("sam", [0.9, 0.9, 0.9, 0.9], [0.8, 0.6, 0.7, 0.9])  # 0.1, 0.3, 0.2
    told = Told(ours | sam, ours_last | sam_last)
    assert claim("mordido2024", "It forgets less than SAM").value(told, 1) == pytest.approx(0.4 - 0.2)
    assert claim("mordido2024", "After the last task it is more accurate").value(told, 1) == pytest.approx(0.45 - 0.75)


def test_radii_are_paired() -> None:
    ours = {0.05: 0.9, 0.1: 0.8, 0.2: 0.7}
    sam = {0.05: 0.8, 0.1: 0.85, 0.2: 0.3}
    told = {f"lookbehind k=2 rho={rho:g} alpha=adaptive": {"test_accuracy": value} for rho, value in ours.items()}
    told |= {f"sam rho={rho:g}": {"test_accuracy": value} for rho, value in sam.items()}
    found = claim("mordido2024", "It is better than SAM over a range of radii").value(Told(told), 1)
    assert found == pytest.approx((-0.1 + 0.05 - 0.4) / 3)


# Caldarola et al. 2022


class Averaged(Told):
    """Records of 100 rounds: those of the last 20 have the accuracy that is told, those before it none."""

    def run(self, name: str, seed: int) -> Run:
        return Run(rounds=100, evaluate_last=20)

    def records(self, name: str, seed: int) -> list[Record]:
        value = self.told[name]["test_accuracy"]
        late = [{"round": 81, "test_accuracy": value - 0.01}, {"round": 100, "test_accuracy": value + 0.01}]
        return [{"round": 80, "test_accuracy": -9.0}, *late]


def averaged(accuracies: Mapping[str, float]) -> Averaged:
    return Averaged({name: {"test_accuracy": value} for name, value in accuracies.items()})


@pytest.mark.parametrize(("low", "high", "share"), [(0.5, 0.9, 0.75), (0.7, 0.9, 0.5), (0.9, 0.9, math.nan)])
def test_the_share_of_the_gap_to_central_training(low: float, high: float, share: float) -> None:
    told = averaged({"fedavg alpha 0": low, "sgd central": high, "fedasam+swa alpha 0": 0.8})
    found = claim("caldarola2022", "It helps to bridge the gap").value(told, 1)
    assert found == pytest.approx(share, nan_ok=True)


def test_gains_are_of_the_last_rounds_and_over_the_best() -> None:
    accuracies = {"fedasam+swa alpha 0": 0.8, "fedavg alpha 0": 0.7, "fedasam alpha 0": 0.85}
    accuracies |= {"fedavg alpha 0 mixup": 0.6, "fedavg alpha 0 cutout": 0.75}
    told = averaged(accuracies)
    for text, gain in {
        "FedASAM with SWA is better on heterogeneous clients": 0.1,
        "SWA improves FedASAM": -0.05,
        "It gains more than mixup or cutout": 0.05,
    }.items():
        found = claim("caldarola2022", text)
        assert found.value(told, 1) == pytest.approx(gain)
        assert (found.side, found.limit) == ("above", 0.0)


def test_robustness_is_over_corruptions_and_severities() -> None:
    ours = {"noise": [0.9, 0.8, 0.7, 0.6, 0.5], "blur": [0.5, 0.4, 0.3, 0.2, 0.1]}
    fedavg = {"noise": [0.6] * 5, "blur": [0.2] * 5}
    measured = {
        ("fedasam+swa alpha 0", "CorruptedAccuracy"): ours,
        ("fedavg alpha 0", "CorruptedAccuracy"): fedavg,
    }
    assert claim("caldarola2022", "It is more robust").value(Told({}, measured), 1) == pytest.approx(0.5 - 0.4)


# what claims are made of


def test_a_mean_is_over_the_last_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        {"round": number, "test_accuracy": value} for number, value in ((60, 0.1), (80, 0.2), (90, 0.4), (100, 0.9))
    ]
    results = Results([], [1])
    results.jobs["a", 1] = Job("a", Run(rounds=100, seed=1, out=str(tmp_path)))
    results._records["a", 1] = records
    assert results.mean("a", 1, "test_accuracy", 20) == pytest.approx(0.65)  # rounds 81 to 100
    assert results.mean("a", 1, "test_accuracy", 21) == pytest.approx(0.5)
    assert results.mean("a", 1, "test_accuracy", 100) == pytest.approx(0.4)
    assert results.last("a", 1, "test_accuracy") == 0.9
