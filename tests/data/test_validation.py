"""Validation examples: held out of every client's own, for tuning, and the test set is out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run, simulate
from fedsam.data.base import Split
from fedsam.data.digits import Digits
from fedsam.data.synthetic import Synthetic
from fedsam.data.validation import HeldOut, federation_of
from fedsam.federated.simulate import resume
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from tests.support.commands import ending
from tests.support.discovered import OTHERS, SLOWEST
from tests.support.ragged import RaggedFederation

KEYS: dict[str, Any] = {"data.validation": 0.25, "data.clients": 12, "rounds": 6, "evaluate_every": 2, "cohort": 3}


def sized(share: float, n: int) -> int:
    """By the definition: the share, rounded; at least one of two or more; at least one is left."""
    return 0 if n < 2 else min(n - 1, max(1, round(share * n)))


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5])
def test_what_is_held_out_of_each_client(share: float) -> None:
    whole = RaggedFederation(14, 8, 1, seed=3)
    held = HeldOut(whole, share, seed=3)
    ids = list(range(14))
    _, before = whole.examples(ids)
    store, kept = held.examples(ids)
    _, out = held.validation(ids)
    assert store is whole.train
    for all_own, own, aside in zip(before, kept, out, strict=True):
        assert sorted([*own, *aside]) == all_own.tolist()
        assert len(aside) == sized(share, len(all_own))
        labels = store.targets[all_own]
        for label in np.unique(labels):  # in proportion: less than one example off the exact share
            quota = len(aside) * np.mean(labels == label)
            assert abs(np.sum(store.targets[aside] == label) - quota) < 1
    np.testing.assert_array_equal(held.sizes(ids), [len(own) for own in kept])
    pooled = np.concatenate(out)
    np.testing.assert_array_equal(held.test.inputs, store.inputs[pooled])
    np.testing.assert_array_equal(held.test.targets, store.targets[pooled])


def test_a_client_s_choice_is_its_own() -> None:
    """It depends on seed and client: not on who is asked with it, nor on the order."""
    data = Digits(clients=10, validation=0.3)
    one, other, third = (federation_of(data, seed) for seed in (0, 0, 1))
    alone = [one.examples([k])[1][0] for k in (7, 2)]
    together = other.examples([2, 5, 7])[1]
    np.testing.assert_array_equal(alone[0], together[2])
    np.testing.assert_array_equal(alone[1], together[0])
    masks = [held._out(4, np.zeros(40, dtype=np.int64)) for held in (one, third) if isinstance(held, HeldOut)]
    assert not np.array_equal(*masks)
    assert isinstance(one, HeldOut)
    assert not np.array_equal(masks[0], one._out(5, np.zeros(40, dtype=np.int64)))


def test_large_federations_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.data.validation.MOST", 7)
    monkeypatch.setattr("fedsam.data.validation.KEPT", 3)
    held = federation_of(Synthetic(clients=50, samples_per_client=10, validation=0.2, test_samples=5), 0)
    assert len(held.test) == 14
    assert held.sizes([49]).tolist() == [8]
    assert [len(own) for own in held.examples(range(50))[1]] == [8] * 50
    assert held.label_counts([3]).sum() == 8


def test_nothing_to_hold_out_is_one_line() -> None:
    with pytest.raises(InputError, match=r"data\.validation = 0\.1: no client has two training examples"):
        simulate(Run.from_keys({"data.samples_per_client": 1, "data.validation": 0.1, "rounds": 1}))
    with pytest.raises(InputError, match=r"data\.validation = 0\.6: must be at most 0\.5"):
        Run.from_keys({"data.validation": 0.6})


class _Poisoned(Split):
    """A test set that must not be touched."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test set was looked at: {name}")


def test_a_tuning_run_never_sees_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, train, test = Digits().read()
    monkeypatch.setattr(Digits, "read", lambda self: (spec, train, _Poisoned(test.inputs, test.targets)))
    monkeypatch.chdir(tmp_path)
    keys = {**KEYS, "data.local_test": 0.1, "average.name": "swa", "average.cycle": 1, "out": "r"}
    keys |= {"attack.name": "pgd", "attack.steps": 1}
    ending("run", *(f"{name}={value}" for name, value in keys.items()), "-q")
    assert "validation accuracy" in capsys.readouterr().out
    out = tmp_path / "r"
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["round"] for record in records] == [2, 4, 6]
    assert {name for name in records[0] if "accuracy" in name or "_loss" in name} == {
        *("validation_accuracy", "validation_loss", "raw_validation_accuracy", "robust_accuracy", "train_loss")
    }
    assert not (out / "clients.json").exists()
    described = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".json", ".jsonl")]
    assert all(word not in path.read_text() for path in described for word in ("test_accuracy", "test_loss"))
    assert "Validation accuracy" in (out / "report.html").read_text()
    resume(out)


@pytest.mark.parametrize("engine", OTHERS)
def test_every_engine_holds_out_the_same(engine: str) -> None:
    found = [simulate(Run.from_keys({**KEYS, "engine.name": name})) for name in (SLOWEST, engine)]
    for one, other in zip(*(result.metrics for result in found), strict=True):
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-4)
        assert one["clients"] == other["clients"]


def test_the_accuracy_is_that_on_the_pool() -> None:
    import torch

    run = Run.from_keys(KEYS)
    result = simulate(run)
    held = federation_of(run.data, run.seed)
    module = run.model.module(held.spec.shape, held.spec.classes, run.seed)
    module.load_state_dict(result.state)
    spec = held.spec
    pixels = torch.from_numpy(held.test.inputs).permute(0, 3, 1, 2) / spec.scale
    with torch.no_grad():
        right = module((pixels - spec.mean[0]) / spec.std[0]).argmax(1).numpy() == held.test.targets
    assert result.metrics[-1]["validation_accuracy"] == pytest.approx(right.mean())


def test_comparisons_of_tuning_runs(tmp_path: Path) -> None:
    runs = {name: Run.from_keys({**KEYS, "client.name": name}) for name in ("sgd", "sam")}
    rows = compare(runs, 2, Progress(quiet=True), out=tmp_path / "out").rows()
    assert all(len(row["validation_accuracy"]) == 2 and "test_accuracy" not in row for row in rows)
    assert "Validation accuracy (%)" in (tmp_path / "out" / "table.md").read_text()
