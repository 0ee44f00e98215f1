"""A run goes on with the data and the model that it was started with, or not at all."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedsam import Run, RunError, resume, simulate
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.synthetic import Synthetic, SyntheticFederation
from fedsam.data.validation import federation_of
from fedsam.errors import Damaged, Interrupted
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from fedsam.sweeps.sweep import plan
from tests.support.interrupted import StopAt, described, outcome
from tests.support.ragged import RaggedFederation

HERE = __name__


class Changes:
    """What is different from the time at which a run was started."""

    now = ""
    bias = 1.0
    width = 8


class Own(Dataset):
    """A data set of the user's, which holds everything in memory."""

    clients: int = 7

    def load(self, seed: int) -> Federation:
        found, now = OwnFederation(self.clients, 8, 1, seed), Changes.now
        if now == "image":
            found.train.inputs[30, 2, 2] ^= 1
        elif now == "label":
            found.train.targets[30] = 2 - found.train.targets[30]
        elif now == "test":
            found.test.inputs[3, 2, 2] ^= 1
        elif now == "division":
            found.ends[3] += 1
        elif now == "mean":
            found.spec = ImageSpec(3, (8, 8, 1), (0.41,), (0.3,))
        return found


class OwnFederation(RaggedFederation):
    """With a local test set in the store of the others."""

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        last = 0 if Changes.now != "local test" else 1
        return self.train, [np.array([self.ends[k] + last if k == 6 else self.ends[k]]) for k in ids]


def net(in_channels: int, classes: int) -> nn.Module:
    """A model of the user's, with a constant and a frozen layer."""
    found = nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, Changes.width), nn.Linear(Changes.width, classes))
    found.register_buffer("shift", torch.full((2,), Changes.bias if Changes.now == "buffer" else 1.0))
    frozen = nn.Linear(classes, classes)
    nn.init.eye_(frozen.weight)
    nn.init.constant_(frozen.bias, Changes.bias if Changes.now == "frozen" else 1.0)
    if Changes.now == "weights":
        nn.init.constant_(found[1].weight, Changes.bias)
    found.append(frozen.requires_grad_(False))
    return found


@pytest.fixture(autouse=True)
def unchanged() -> None:
    Changes.now, Changes.bias, Changes.width = "", 1.0, 8


def begun(out: Path, at: int = 4, **keys: Any) -> Run:
    """A run that was stopped; without a checkpoint for `at` = 0."""
    own = {"data.name": f"{HERE}:Own", "data.clients": 7, "cohort": 2, "client.lr": 0.01, **keys}
    groups = {"data", *(name.partition(".")[0] for name in keys)}
    common = described(out).keys().items()
    run = Run.from_keys({name: value for name, value in common if name.partition(".")[0] not in groups} | own)
    listener = StopAt(at or 1)
    with pytest.raises(Interrupted):
        simulate(run, listener, listener.stop)
    if not at:
        shutil.rmtree(out / "checkpoint")
    return run


PARTS = {
    "image": "training examples of the clients",
    "label": "training examples of the clients",
    "test": "test examples",
    "division": "training examples of the clients",
    "local test": "local test examples of the clients",
    "mean": "classes, shape and scale of the images",
}


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("what", PARTS)
def test_other_data_are_refused(tmp_path: Path, what: str, at: int) -> None:
    run = begun(tmp_path / "run", at)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    Changes.now = what
    said = f"run cannot be used: {PARTS[what]}.* changed since the run was started; put back what it was started with,"
    with pytest.raises(Damaged, match=said):
        resume(tmp_path / "run")
    if at:
        with pytest.raises(Damaged, match=said):
            LoadedRun(tmp_path / "run")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    Changes.now = ""
    resume(tmp_path / "run")
    simulate(run.replace(out=str(tmp_path / "whole")))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("what", "at", "said"),
    [
        ("buffer", 4, "constants of the model"),
        ("frozen", 4, "constants of the model"),
        ("weights", 0, "initial weights of the model"),
        ("width", 4, "parameters of the model"),
        ("weights", 4, ""),
    ],
)
def test_another_model_is_refused(tmp_path: Path, what: str, at: int, said: str) -> None:
    begun(tmp_path / "run", at, **{"model.name": f"{HERE}:net"})
    Changes.now, Changes.bias, Changes.width = what, 1.001, 9 if what == "width" else 8
    if said:
        with pytest.raises(Damaged, match=f"run cannot be used: {said}"):
            resume(tmp_path / "run")
    else:  # the checkpoint holds other weights
        resume(tmp_path / "run")


def test_what_was_started_before_there_were_fingerprints_goes_on(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "fingerprint"}))
    Changes.now = "image"
    resume(tmp_path / "run")


def test_another_source_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    found = json.loads(file.read_text())
    assert set(found["fingerprint"]["sources"]) == {HERE}
    found["fingerprint"]["sources"][HERE] = "0" * 64
    file.write_text(json.dumps(found))
    resume(tmp_path / "run")
    assert f"{HERE} changed since the run was started; its results may, too" in caplog.text


@pytest.mark.parametrize("keys", [{}, {"local_test": 0.2, "label_noise": 0.3, "validation": 0.2, "skew": "feature"}])
def test_every_choice_about_the_data_is_in_its_sums(keys: dict[str, Any]) -> None:
    def sums(name: str, seed: int = 0, **more: Any) -> dict[str, str]:
        return federation_of(Run(data={"name": name, "clients": 6, **keys, **more}).data, seed).digests

    for name, others in {
        "digits": ({"samples_per_client": 20}, {"alpha": 3.0}, {"label_noise": 0.1}, {"local_test": 0.3}),
        "synthetic": ({"samples_per_client": 20}, {"alpha": 3.0}, {"noise": 1.5}, {"skew": {"name": "feature"}}),
    }.items():
        whole = sums(name)
        assert whole == sums(name)
        different = [sums(name, 1), *(sums(name, **other) for other in others if other.keys() - keys.keys())]
        assert all(other != whole for other in different)
    assert ("validation examples" in whole) is ("validation" in keys)
    assert ("test examples" in whole) is ("validation" not in keys)


def test_what_is_made_when_it_is_asked_for_is_not_made_for_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real: Callable[..., Any] = SyntheticFederation._make

    def make(self: SyntheticFederation, ids: Sequence[int], *rest: Any) -> Any:
        made.extend(ids)
        return real(self, ids, *rest)

    monkeypatch.setattr(SyntheticFederation, "_make", make)
    found = Synthetic(clients=10**6).load(0).digests
    assert set(made) == {0, 1, 10**6 - 1}
    assert len(made) < 20
    assert len(found) == 4


def test_clients_whose_data_cannot_be_read_are_the_affair_of_their_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def examples(self: OwnFederation, ids: Sequence[int]) -> Any:
        raise OSError("broken")

    monkeypatch.setattr(OwnFederation, "examples", examples)
    assert set(Own().load(0).digests) == {"classes, shape and scale of the images", "test examples"}


def test_a_sweep_does_not_mix_data(tmp_path: Path) -> None:
    keys = {"data.name": f"{HERE}:Own", "data.clients": 7, "cohort": 2, "rounds": 2, "client.lr": 0.01}
    runs = {f"lr={lr}": Run.from_keys(keys | {"client.lr": lr}) for lr in (0.01, 0.02)}
    compare(runs, 1, Progress(quiet=True), out=tmp_path / "s")
    shutil.rmtree(plan(runs, 1, tmp_path / "s")[1].path)
    Changes.now = "image"
    said = r"1 of 2 runs failed: lr=0\.02, seed 0: the data changed between lr=0\.01, seed 0 and this run; one of them"
    with pytest.raises(RunError, match=said):
        compare(runs, 1, Progress(quiet=True), out=tmp_path / "s")
    assert [row["setting"] for row in json.loads((tmp_path / "s" / "compare.json").read_text())] == ["lr=0.01"]


def test_this_module_can_be_named() -> None:
    assert HERE in sys.modules
