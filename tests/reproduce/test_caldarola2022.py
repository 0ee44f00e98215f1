"""Caldarola et al. 2022: the cells, their tables, the converter of the authors' splits, and the leak."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments import caldarola2022
from experiments.caldarola2022 import splits
from experiments.caldarola2022.leak import LeakyDigits
from fedsam import InputError
from fedsam.data.cifar10 import CIFAR10
from fedsam.data.digits import Digits
from fedsam.data.images.corruptions import CORRUPTIONS
from fedsam.data.partition.file import File
from fedsam.reproduce.base import PRESETS, Preset
from fedsam.reproduce.beside import cell, grid
from fedsam.reproduce.card import tables
from fedsam.reproduce.claim import Answer, Claim
from fedsam.reproduce.corrupted import CorruptedAccuracy
from fedsam.reproduce.flatness import Eigenvalues, ratio
from fedsam.reproduce.results import MissingRun
from fedsam.rng import stream
from fedsam.run import Run

EVERY = (0, 0.05, 0.1, 0.2, 0.5, 1, 10, 100, 1000)
METHODS = ("fedavg", "fedsam", "fedasam", "fedavg+swa", "fedsam+swa", "fedasam+swa")


class Made:
    """In place of finished runs: numbers that the name and the seed give, and a note of each run that is asked for."""

    seeds = (1, 2)

    def __init__(self, there: Mapping[str, Run], accuracy: Mapping[str, float] | None = None) -> None:
        self.there, self.asked, self.accuracy = there, set[str](), accuracy or {}
        self.order = {name: number for number, name in enumerate(there)}

    def run(self, name: str, seed: int) -> Run:
        self.asked.add(name)
        if name not in self.there:
            raise MissingRun(name)
        return self.there[name]

    def mean(self, name: str, seed: int, field: str, rounds: int) -> float:
        run = self.run(name, seed)
        fields = ("test_miou", "unseen_miou") if run.learnt.name == "segmentation" else ("test_accuracy",)
        assert field in fields
        assert rounds == run.evaluate_last
        return self.accuracy.get(name, (self.order[name] + seed) / 1000)

    def last(self, name: str, seed: int, field: str) -> float:
        return self.mean(name, seed, field, self.run(name, seed).evaluate_last) + 0.001

    def curve(self, name: str, field: str) -> Any:
        self.run(name, 1)
        return [1.0, 2.0], [[0.1, 0.2] for _ in self.seeds]

    def measure(self, name: str, seed: int, measure: Any) -> Any:
        number = self.order[self.run(name, seed) and name]
        if isinstance(measure, Eigenvalues):
            return [10.0 + number, 4.0, 3.0, 2.0, -1.0 if name.startswith("fedsam alpha") else 2.0]
        if isinstance(measure, CorruptedAccuracy):
            return {
                kind: [number / 1000 - 0.01 * (k + n + seed) for n in range(5)] for k, kind in enumerate(CORRUPTIONS)
            }
        return {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": [[0.1, 0.2], [0.3, 0.4]]}


def made(preset: Preset = "cpu", accuracy: Mapping[str, float] | None = None) -> Any:
    return Made(caldarola2022.runs(preset), accuracy)


# cells


@pytest.mark.parametrize("before", ["", "cifar100 "])
def test_paper_has_every_method_alpha_and_number_of_clients(before: str) -> None:
    runs = caldarola2022.runs("paper")
    for method, alpha, clients in product(METHODS, EVERY, (5, 10, 20)):
        run = runs[f"{before}{method} alpha {alpha:g}" + (f" {clients} a round" if clients > 5 else "")]
        assert run.cohort == clients
        assert run.rounds == (20_000 if before else 10_000)
        keys = run.keys()
        if before or alpha == 1000:
            assert (keys["data.partition"], keys["data.alpha"]) == ("dirichlet", alpha)
        else:
            assert keys["data.split_file"] == f"fedsam_eccv2022.npz:alpha_{alpha:.2f}"
    shown = (0, 0.5, 1000) if before else (0, 0.05, 100)
    for alpha in shown:
        for name in ("fedprox", "scaffold", "fedavgm", "feddyn", "fedgloss"):
            assert runs[f"{before}{name} alpha {alpha:g}"].server.name == name
        for method, augment in product(METHODS, ("mixup", "cutout")):
            assert runs[f"{before}{method} alpha {alpha:g} {augment}"].keys()["data.augment"] == augment
    for name in ("sgd", "sam", "asam"):
        assert (runs[f"{before}{name} central"].rounds, runs[f"{before}{name} central"].client.name) == (200, name)


def test_fedgloss_has_the_radii_of_its_own_paper() -> None:
    runs = caldarola2022.runs("paper")
    found = [
        tuple(runs[f"{before}fedgloss alpha 0"].keys()[key] for key in ("client.rho", "server.rho", "server.beta"))
        for before in ("", "cifar100 ")
    ]
    assert found == [(0.15, 0.15, 10.0), (0.2, 0.01, 100.0)]


# tables, figures and claims


@pytest.mark.parametrize("preset", PRESETS)
def test_every_run_is_in_a_table_and_no_other(preset: Preset) -> None:
    results = made(preset)
    titles = caldarola2022.tables(preset)
    rows = [table(results) for table in titles.values()]
    missing = {name for name in results.asked if name not in results.there}
    assert results.asked - missing == set(results.there)
    assert missing == set()
    corners = [table[0][0] for table in rows]
    assert len(set(corners)) == len(titles)
    for table in rows:
        assert {len(row) for row in table} == {len(table[0])}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_figure_and_claim_finds_its_runs(preset: Preset) -> None:
    results = made(preset)
    for panels in caldarola2022.figures(preset).values():
        assert panels(results)
    for claim in caldarola2022.claims(preset):
        assert isinstance(float(claim.value(results, 1)), float)


def found(results: Any, corner: str) -> dict[str, dict[str, str]]:
    """The table with this corner, by row and column."""
    (table,) = [rows for make in caldarola2022.tables("cpu").values() if (rows := make(results))[0][0] == corner]
    return {row[0]: dict(zip(table[0][1:], row[1:], strict=True)) for row in table[1:]}


def test_the_tables_of_the_card_have_the_shape_of_ours() -> None:
    card = str(caldarola2022.__doc__)
    block = card[card.index("<!-- tables -->") : card.index("<!-- end of tables -->")]
    ours = {rows[0][0]: rows for make in caldarola2022.tables("cpu").values() for rows in [make(made())]}
    there = tables(block)
    assert {"digits, accuracy", "digits, comparison", "digits, drop"} <= set(there) <= set(ours)
    for corner, rows in there.items():
        assert rows[0] == ours[corner][0]
        assert [row[0] for row in rows] == [row[0] for row in ours[corner]]


def test_cells_by_hand() -> None:
    results = made()
    order = results.order
    number = (order["fedasam alpha 10"] + 1.5) / 10
    table = found(results, "digits, accuracy")
    assert table["fedasam"]["alpha 10"] == f"{number:.2f} ± 0.07"
    assert table["fedavg, 20 a round"] == {
        "alpha 0": f"{(order['fedavg alpha 0 20 a round'] + 1.5) / 10:.2f} ± 0.07",
        "alpha 0.05": "-",
        "alpha 0.5": "-",
        "alpha 10": "-",
        "alpha 100": "-",
    }
    assert found(results, "digits, λ1")["fedsam"]["alpha 0"] == f"{10 + order['fedsam alpha 0']:.2f} ± 0.00"
    assert found(results, "digits, λ1/λ5")["fedsam"]["alpha 0"] == "-"
    assert found(results, "digits, λ1/λ5")["fedavg"]["alpha 0"] == f"{(10 + order['fedavg alpha 0']) / 2:.2f} ± 0.00"
    leak = found(results, "digits, leak")["fedavg"]
    assert leak["difference"] == f"{(order['fedavg alpha 100 leak'] - order['fedavg alpha 100']) / 10:.2f} ± 0.00"


def test_corruption_by_hand() -> None:
    results = made()
    kinds, order = list(CORRUPTIONS), results.order["fedsam alpha 0"]
    absolute, drop = found(results, "digits, corruption and severity"), found(results, "digits, drop")
    assert set(absolute) == {"none", "mean", *(f"{kind} {n}" for kind in kinds for n in range(1, 6))}
    # The accuracy is order / 1000 - 0.01 (k + n + seed) for kind k and severity n, both from 0; seeds 1 and 2.
    assert absolute[f"{kinds[2]} 4"]["fedsam"] == f"{order / 10 - 2 - 3 - 1.5:.2f} ± 0.71"
    assert absolute["none"]["fedsam"] == f"{(order + 1.5 + 1) / 10:.2f} ± 0.07"
    assert absolute["mean"]["fedsam"] == f"{order / 10 - 2.5 - 2 - 1.5:.2f} ± 0.71"
    assert drop[kinds[2]]["fedsam"] == f"{0.25 + 2 + 2 + 1.5:.2f} ± 0.78"
    assert drop["severity 4"]["fedsam"] == f"{0.25 + 2.5 + 3 + 1.5:.2f} ± 0.78"
    assert drop["mean"]["fedsam"] == f"{0.25 + 2.5 + 2 + 1.5:.2f} ± 0.78"


def test_a_cell_is_of_the_seeds_that_are_there() -> None:
    def value(seed: int) -> float:
        if seed == 2:
            raise MissingRun("it")
        return {1: 3.0, 3: 5.0, 4: float("nan")}[seed]

    def of(*seeds: int) -> str:
        results: Any = SimpleNamespace(seeds=seeds)
        return cell(results, value, 1)

    assert of(1, 2, 3, 4) == "4.0 ± 1.4"
    assert of(1, 2) == "3.0"
    assert of(2, 4) == "-"
    results: Any = SimpleNamespace(seeds=(1, 2))
    rows = grid(results, "c", {"a": {"x": lambda r, s: value(s)}, "b": {"y": lambda r, s: value(2)}}, 1)
    assert rows == [["c", "x", "y"], ["a", "3.0", "-"], ["b", "-", "-"]]
    with pytest.raises(MissingRun, match="for any cell of 'c'"):
        grid(results, "c", {"b": {"y": lambda r, s: value(2)}})


def claimed(start: str) -> Claim:
    (claim,) = [claim for claim in caldarola2022.claims("cpu") if claim.text.startswith(start)]
    return claim


def test_fedgloss_is_among_the_other_methods() -> None:
    results = made(accuracy={"fedasam+swa alpha 0": 0.9, "fedgloss alpha 0": 0.95, "scaffold alpha 0": 0.8})
    assert claimed("It is better than other methods").value(results, 1) == pytest.approx(-0.05)
    assert claimed("It is better than those before it").value(results, 1) == pytest.approx(0.1)


def test_a_drop_is_no_gain() -> None:
    results = made(accuracy={"fedasam+swa alpha 0": 0.9, "fedavg alpha 0": 0.4})
    one, other = (
        results.order[name] / 1000 - 0.01 * (2.5 + 2 + 1) for name in ("fedasam+swa alpha 0", "fedavg alpha 0")
    )
    assert claimed("It is more robust").value(results, 1) == pytest.approx(one - other)
    assert claimed("Corruption costs").value(results, 1) == pytest.approx((0.9 - one) - (0.4 - other))
    assert claimed("Corruption costs").side == "below"


def test_a_fifth_eigenvalue_that_is_not_positive_decides_nothing() -> None:
    assert ratio([6.0, 5.0, 4.0, 3.0, 2.0]) == 3.0
    for values in ([6.0, 5.0, 4.0, 3.0, 0.0], [6.0, 5.0, 4.0, 3.0, -2.0], [6.0]):
        assert np.isnan(ratio(values))
    claim = claimed("With FedASAM and SWA the largest")
    results = made()
    plain = results.measure
    results.measure = lambda name, seed, measure: [*plain(name, seed, measure)[:4], -1.0 if seed == 2 else 1.0]
    answer = Answer(claim, {seed: claim.value(results, seed) for seed in (1, 2)})
    assert (answer.mean, answer.holds) == (None, "undecided")
    assert np.isfinite(answer.values[1])


# the authors' splits


THEIRS = {"2": [11, 3, 0], "0": [5, 4, 9, 10], "1": [8, 1, 7, 6]}  # position 2 is missing


def theirs(folder: Path, clients: Mapping[str, list[Any]] = THEIRS, alpha: str = "0.50") -> Path:
    place = folder / "data" / "cifar10" / "data" / "train"
    place.mkdir(parents=True, exist_ok=True)
    names = {k: [f"img_{p}_label_6.png" if isinstance(p, int) else p for p in own] for k, own in clients.items()}
    content = {
        "users": [int(k) for k in clients],
        "num_samples": [len(own) for own in clients.values()],
        "user_data": {k: {"x": own, "y": [6] * len(own)} for k, own in names.items()},
    }
    (place / f"federated_train_alpha_{alpha}.json").write_text(json.dumps(content))
    return folder


def test_the_authors_lists_become_positions(tmp_path: Path) -> None:
    theirs(theirs(tmp_path), {k: own[::-1] for k, own in THEIRS.items()}, "10.00")
    assert splits.convert(tmp_path, tmp_path / "deep" / "s.npz", 12) == ["alpha_0.50", "alpha_10.00"]
    with np.load(tmp_path / "deep" / "s.npz") as arrays:
        assert arrays["alpha_0.50"].dtype == np.int32
        assert arrays["alpha_0.50"].tolist() == [[5, 4, 9, 10], [8, 1, 7, 6], [11, 3, 0, 2]]
        assert arrays["alpha_10.00"].tolist() == [[10, 9, 4, 5], [6, 7, 1, 8], [0, 3, 11, 2]]
    partition = File(split_file=f"{tmp_path}/deep/s.npz:alpha_0.50")
    own = partition.assign(np.zeros(12, dtype=np.int64), 3, None, stream(0, "partition"))
    assert own.of_client(2).tolist() == [0, 2, 3, 11]


@pytest.mark.parametrize(
    ("clients", "says"),
    [
        ({"0": [1, 2], "1": [3, "volcano_s_000012.png"]}, "volcano_s_000012.png is no img_POSITION_label_CLASS.png"),
        ({"0": [1, 2], "1": [2, 3]}, "names an image twice"),
        ({"0": [1, 2], "1": [3, 12]}, "or one that there is not"),
        ({"0": [1, 2, 3], "1": [4]}, "have not the same number"),
        ({"0": [1], "2": [3]}, "is none of the authors' lists: KeyError"),
        ({}, "have not the same number"),
    ],
)
def test_other_lists_are_refused(tmp_path: Path, clients: dict[str, list[Any]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        splits.convert(theirs(tmp_path, clients), tmp_path / "s.npz", 12)
    assert not (tmp_path / "s.npz").exists()


def test_the_command_puts_them_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDSAM_DATA", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    assert splits.main([str(theirs(tmp_path))]) == 0
    made_file = tmp_path / "root" / "cifar10" / "splits" / "fedsam_eccv2022.npz"
    assert capsys.readouterr().out == f"{made_file}: alpha_0.50\n"
    split_file = caldarola2022.runs("paper")["fedavg alpha 0.5"].keys()["data.split_file"]
    partition = CIFAR10(partition=File(split_file=split_file), clients=3).dividing()
    assert partition.assign(np.zeros(12, dtype=np.int64), 3, None, stream(0, "partition")).index.tolist()[:4] == [
        4,
        5,
        9,
        10,
    ]
    assert splits.main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: FOLDER = {tmp_path / 'none'}: there is no data/cifar10/data/train"
    )


def test_a_split_is_looked_for_here_and_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    (root / "cifar10" / "splits").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    data = CIFAR10(root=str(root), partition=File(split_file="s.json"), clients=1)

    def first() -> int:
        labels = np.zeros(9, dtype=np.int64)
        return int(data.dividing().assign(labels, 1, None, stream(0, "partition")).index[0])

    with pytest.raises(InputError) as caught:
        data.load(0)  # before the images, which are not there either
    places = f"{here}/s.json or {root}/s.json or {root}/cifar10/splits/s.json"
    assert f"there is no file {places}; `python -m fedsam.experiments.caldarola2022.splits` makes" in str(caught.value)
    assert "\n" not in str(caught.value)
    for number, folder in enumerate((root / "cifar10" / "splits", root, here)):
        (folder / "s.json").write_text(json.dumps([[number]]))
        assert first() == number


# the leak


def test_digits_leak_as_the_authors_files_do() -> None:
    _, plain, test = Digits().read()
    spec, leaky, same_test = LeakyDigits().read()
    assert spec.classes == 10
    np.testing.assert_array_equal(same_test.inputs, test.inputs)
    np.testing.assert_array_equal(leaky.targets, plain.targets)
    changed = 0
    for at in range(len(plain.targets)):
        twin = at < len(test.targets) and test.targets[at] == plain.targets[at]
        changed += int(twin)
        np.testing.assert_array_equal(leaky.inputs[at], (test if twin else plain).inputs[at])
    assert changed == 45
