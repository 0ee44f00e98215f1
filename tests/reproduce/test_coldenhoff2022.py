"""What Coldenhoff et al. 2022 needs beside the machinery: the first layer's weights, and tables beside each other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from scipy import stats

from experiments import coldenhoff2022
from experiments.coldenhoff2022.answers import best
from fedsam.reproduce.beside import as_markdown, spread
from fedsam.reproduce.card import tables
from fedsam.reproduce.carry_out import Outcome, carry_out
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.first_layer import FirstLayer
from fedsam.reproduce.write import write
from fedsam.runs.progress import Progress
from tests.support.papers import toy


def small(preset: str) -> dict[str, Any]:
    """The `cpu` runs at toy size, for three rounds."""
    local = {"rounds": 3, "data.samples_per_client": 4}
    return {name: toy(run, **local) for name, run in coldenhoff2022.runs("cpu").items()}


PAPER: Any = SimpleNamespace(**{**vars(coldenhoff2022), "runs": small})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    out = tmp_path_factory.mktemp("coldenhoff")
    outcome = carry_out("coldenhoff2022", PAPER, "cpu", 2, out, Progress(quiet=True))
    write(outcome, PAPER)
    return outcome


@pytest.mark.parametrize("shape", ["normal", "uniform", "laplace"])
def test_tails_are_fishers(shape: str) -> None:
    weights = 0.1 + 0.3 * getattr(np.random.default_rng(0), shape)(size=5000)
    found = FirstLayer().measured(weights)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(weights), rel=1e-9)
    expected = {"normal": 0.0, "uniform": -1.2, "laplace": 3.0}[shape]
    assert found["kurtosis"] == pytest.approx(expected, abs=0.6)
    assert found["std"] == pytest.approx(np.std(weights))
    assert found["largest"] == pytest.approx(np.abs(stats.zscore(weights)).max())


def test_the_histogram_holds_every_weight() -> None:
    weights = np.array([0.0] * 90 + [-1.0] * 5 + [1.0] * 4 + [30.0])
    found = FirstLayer(bins=8, reach=2.0).measured(weights)
    z = (weights - weights.mean()) / weights.std()
    counts = [np.sum((z >= low) & (z < low + 0.5)) for low in np.arange(-2, 2, 0.5)]
    counts[-1] += 1  # 30, beyond the last bin
    assert z[-1] > 2
    np.testing.assert_allclose(np.array(found["density"]) * 0.5 * 100, counts)
    np.testing.assert_allclose(found["z"], np.arange(-1.75, 2, 0.5))


def test_it_is_the_first_layer_that_is_measured(whole: Outcome) -> None:
    found = whole.results.measure("plain sam", 1, FirstLayer())
    state = safetensors.torch.load_file(whole.out / "runs" / "plain-sam-seed1" / "model.safetensors")
    weights = state["conv.weight"].double().numpy().ravel()
    assert found["weights"] == len(weights) == 72
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(weights), rel=1e-6)


def test_every_claim_is_answered_and_every_figure_drawn(whole: Outcome) -> None:
    assert not whole.open
    assert not whole.failures
    assert {file.stem for file in (whole.out / "figures").glob("*.png")} == set(coldenhoff2022.figures("cpu"))


def test_claims_by_hand(whole: Outcome) -> None:
    records = {
        (name, seed): whole.results.records(name, seed) for name in coldenhoff2022.runs("cpu") for seed in (1, 2)
    }
    by_text = {answer.claim.text: answer for answer in whole.answers}

    def of(text: str, one: str, other: str, field: str, pick: Any = lambda values: values[-1]) -> None:
        for seed in (1, 2):
            first, second = (pick([r[field] for r in records[name, seed]]) for name in (one, other))
            difference = np.log(first / second) if field == "train_loss" else first - second
            assert by_text[text].values[seed] == pytest.approx(difference, abs=1e-12)

    of("SAM generalises better than SGD", "sam 128", "sgd 128", "test_accuracy", max)
    for size in (16, 64, 128):
        of(f"It does at batch size {size}", f"sam {size}", f"sgd {size}", "test_accuracy")
        way = "above" if size == 128 else "below"
        of(f"At batch size {size} SAM's training loss ends {way} SGD's", f"sam {size}", f"sgd {size}", "train_loss")
    of("SGD generalises better with smaller batches", "sgd 16", "sgd 128", "test_accuracy")
    of("Without BatchNorm ASAM generally performs better than SAM", "plain asam", "plain sam", "test_accuracy")
    of("SAM fits the training data more closely than ASAM", "plain asam", "plain sam", "train_loss")


def test_the_best_epoch_is_not_the_last() -> None:
    records = [{"test_accuracy": 0.2}, {"test_accuracy": 0.9}, {"test_accuracy": 0.5}]
    results: Any = SimpleNamespace(records=lambda name, seed: records)
    assert best(results, "sam 128", 1) == 0.9


def test_spread_is_that_of_the_sample() -> None:
    assert spread([1.0, 2.0, 6.0], 2) == "3.00 ± 2.65"  # √((4 + 1 + 9) / 2)
    assert spread([0.5], 1) == "0.5 ± 0.0"


PUBLISHED = {  # by hand, from the paper's tables
    "SAM generalises better than SGD": 0.0654,
    "It does at batch size 16": 0.0514,
    "It does at batch size 64": 0.0658,
    "It does at batch size 128": 0.0661,
    "SAM generalises better with smaller batches": 0.0906,
    "SGD generalises better with smaller batches": 0.1053,
    "At batch size 16 SAM's training loss ends below SGD's": -1.855,
    "At batch size 64 SAM's training loss ends below SGD's": -1.755,
    "At batch size 128 SAM's training loss ends above SGD's": 1.705,
    "Without BatchNorm ASAM generally performs better than SAM": -0.00113,
    "SAM fits the training data more closely than ASAM": 1.117,
}


def test_published_numbers() -> None:
    found: dict[str, Claim] = {claim.text: claim for claim in coldenhoff2022.claims("paper")}
    for text, number in PUBLISHED.items():
        assert float(found[text].published) == pytest.approx(number, rel=0.005, abs=5e-5), text
    (rest,) = [claim for text, claim in found.items() if "tails" in text]
    assert rest.published == "not available"


def test_tables_hold_the_published_numbers_and_ours(whole: Outcome) -> None:
    found = tables((whole.out / "tables.md").read_text())
    assert set(found) == {"Table I", "batch size", "Table II"}
    one = {row[0]: [float(cell) for cell in row[1:]] for row in found["Table I"][1:]}
    assert one["published, seed 30"] == [70.77, 64.03]
    assert one["published, mean"] == pytest.approx([70.99, 64.45])
    best = [
        100 * max(record["test_accuracy"] for record in whole.results.records(f"{name} 128", 2))
        for name in ("sam", "sgd")
    ]
    assert one["ours, seed 2"] == pytest.approx(best, abs=0.005)
    two = {row[0]: [float(cell) for cell in row[1:]] for row in found["Table II"][1:]}
    assert two["published, seed 3"] == [65.49, 9.50, 66.23, 24.7]
    assert two["published, mean"] == pytest.approx([67.00, 8.47, 66.88, 25.73], abs=0.006)
    last = [whole.results.records(f"plain {name}", 1)[-1] for name in ("sam", "asam")]
    ours = [scale * record[field] for record in last for field, scale in (("test_accuracy", 100), ("train_loss", 1e5))]
    assert two["ours, seed 1"] == pytest.approx(ours, abs=0.005)
    header, *rows = found["batch size"]
    assert [row[0] for row in rows] == ["16", "64", "128"]
    assert rows[0][1:5] == ["79.89", "74.75", "0.0084", "0.0537"]
    values = [100 * whole.results.last("sgd 16", seed, "test_accuracy") for seed in (1, 2)]
    place = header.index("SGD, ours")
    assert rows[0][place] == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def test_a_table_that_lacks_a_run_is_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = carry_out("coldenhoff2022", PAPER, "cpu", 1, tmp_path, Progress(quiet=True), only="s?? 128")
    text = as_markdown(PAPER, outcome.results, "cpu", told.append)
    assert set(tables(text)) == {"Table I"}
    assert len(told) == 2
    assert as_markdown(SimpleNamespace(), outcome.results, "cpu") == ""  # type: ignore[arg-type]


def test_the_card_holds_the_tables() -> None:
    card = str(coldenhoff2022.__doc__)
    assert "<!-- tables -->\nTable I" in card
    found = tables(card)
    for name, seeds in (("Table I", (20, 30, 40)), ("Table II", (1, 2, 3))):
        rows = [row[0] for row in found[name][1:]]
        assert rows[:3] == [f"published, seed {seed}" for seed in seeds]
        assert rows[4:7] == [f"ours, seed {seed}" for seed in (1, 2, 3)]
