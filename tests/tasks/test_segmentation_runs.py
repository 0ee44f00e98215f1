"""Runs of segmentation: the same on every engine, resumed to the same bytes, scored by sums for each client, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import jaccard_score
from torch.nn import functional as F  # noqa: N812

from fedsam import Run, resume, simulate
from fedsam.errors import InputError, Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import evaluate
from fedsam.measure.local_tests import LocalTests
from fedsam.params import Weights
from fedsam.runs.result import Listener
from tests.support.discovered import OTHERS, SLOWEST
from tests.support.scenes import CLASSES, Scenes

KEYS: dict[str, Any] = {
    "data.name": "tests.support.scenes:Scenes",
    "data.augment": "colour_jitter",
    "data.jitter_after": "scale_crop",
    "data.clients": 5,
    "model.name": "bisenetv2",
    "model.width": 8,
    "model.groups": 1,
    "task.name": "segmentation",
    "task.hardest": 0.5,
    "task.class_weights": "1,1,2,0.5",
    "client.name": "asam",
    "client.rho": 0.3,
    "client.lr": 0.05,
    "client.batch_size": 4,
    "client.epochs": 1,
    "server.name": "scaffold",
    "average.name": "swa",
    "average.start": 0.25,
    "average.cycle": 1,
    "rounds": 4,
    "evaluate_every": 2,
    "cohort": 3,
    "engine.threads": 1,
    "engine.precision": "fp64",
}


def described(**changes: Any) -> Run:
    return Run.from_keys({**KEYS, **changes})


def assert_same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in state.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("engine", OTHERS)
def test_engines_give_the_same_weights(engine: str) -> None:
    """ASAM, SCAFFOLD and SWA at once, with auxiliary outputs, mining and class weights."""
    loop, others = (simulate(described(**{"engine.name": name})) for name in (SLOWEST, engine))
    assert_same(loop.state, others.state)
    for one, other in zip(loop.metrics, others.metrics, strict=True):
        assert one["test_miou"] == pytest.approx(other["test_miou"], rel=1e-9)
        assert one["test_loss"] == pytest.approx(other["test_loss"], rel=1e-9)
    assert loop.metrics[-1]["test_loss"] != loop.metrics[0]["test_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_started_engines_give_them_too(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("flwr")
    words = [f"{name}={value}" for name, value in {**KEYS, "engine.name": engine, "out": tmp_path / "run"}.items()]
    line = [sys.executable, "-m", "fedsam", "run", *words, "--quiet", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = simulate(described(**{"engine.name": "loop"}))
    assert_same(here.state, load_file(tmp_path / "run" / "model.safetensors"))
    assert json.loads(done.stdout)["test_miou"] == pytest.approx(here.metrics[-1]["test_miou"], rel=1e-9)


class _Stop(Listener):
    def __init__(self) -> None:
        self.stop = threading.Event()

    def round(self, done: int) -> None:
        if done == 2:
            self.stop.set()


def test_a_run_that_was_stopped_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, parted, listener = tmp_path / "whole", tmp_path / "parted", _Stop()
    simulate(described(out=str(whole)))
    with pytest.raises(Interrupted):
        simulate(described(out=str(parted)), listener, listener.stop)
    resume(parted)
    assert (parted / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    one, other = (json.loads((out / "metrics.jsonl").read_text().splitlines()[-1]) for out in (whole, parted))
    assert {k: v for k, v in one.items() if k.startswith("test_")} == {
        k: v for k, v in other.items() if k.startswith("test_")
    }


def test_a_clients_score_is_that_of_its_own_pixels() -> None:
    plain = {"model.name": "unet", "model.width": 4, "model.groups": 2, "task.hardest": 1.0, "task.class_weights": ""}
    simulation = Simulation(described(**plain))
    context, split = simulation.context, simulation.federation.test
    values, losses = LocalTests(context, simulation.federation, range(5)).scores(Weights(simulation.theta_P))
    for client, (value, loss) in enumerate(zip(values, losses, strict=True)):
        image, mask = (torch.from_numpy(each[client : client + 1]) for each in (split.inputs, split.targets))
        if client == 2:  # it has no labels
            assert value is None
            assert loss is None
            continue
        outputs = context.outputs(Weights(simulation.theta_P), context.prepare(image))
        true, found = (each[mask != 255].numpy() for each in (mask, outputs.argmax(dim=1)))
        there = np.union1d(true, found)  # of some classes a client has nothing
        assert value == pytest.approx(jaccard_score(true, found, labels=there, average="macro"), rel=1e-12)
        assert loss == pytest.approx(float(F.cross_entropy(outputs, mask.long(), ignore_index=255)), rel=1e-9)


def test_what_segmentation_records() -> None:
    keys = {name: value for name, value in KEYS.items() if name != "task.class_weights"}
    last = simulate(Run.from_keys({**keys, "task.extra_metrics": "all", "rounds": 2})).metrics[-1]
    ious = last["test_per_class_iou"]
    assert ious[0] in (None, 0.0)  # nowhere a target
    assert last["test_miou"] == pytest.approx(np.mean([iou for iou in ious if iou is not None]))
    matrix = np.array(last["test_confusion_matrix"])
    labelled = (Scenes().load(0).test.targets != 255).sum()
    assert matrix.sum() == labelled
    assert last["test_pixel_accuracy"] == pytest.approx(matrix.trace() / labelled)


@pytest.mark.parametrize(
    "changes", [{"data.augment": "mixup"}, {"data.augment": "smoothing"}, {"data.label_noise": 0.2}]
)
def test_what_mixes_labels_is_refused(changes: dict[str, Any]) -> None:
    common = {"data.name": "shapes", "model.name": "unet"}
    with pytest.raises(
        InputError, match=r"needs single labels, which data\.name=shapes with task\.name=segmentation has"
    ):
        Run.from_keys({**common, **changes})


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_model_of_whole_images_is_refused_and_others_are_named(model: str) -> None:
    told = rf"model\.name = {model}: gives one output for an image, and .* each pixel; use bisenetv2, lraspp, unet$"
    with pytest.raises(InputError, match=told):
        Simulation(Run.from_keys({"data.name": "shapes", "model.name": model, "data.domain_samples": 4}))


def test_shapes_are_divided_by_what_they_show() -> None:
    federation = Simulation(
        Run.from_keys(
            {
                "data.name": "shapes",
                "model.name": "unet",
                "data.partition": "dirichlet",
                "data.alpha": 0.1,
                "data.domain_samples": 10,
            }
        )
    ).federation
    counts = federation.label_counts(range(federation.clients))
    assert counts.sum() == 80
    assert (counts.max(axis=1) / counts.sum(axis=1)).mean() > 0.6
    assert counts[:, 0].sum() < 10


def test_fewer_large_outputs_are_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(described(**{"model.name": "unet", "model.width": 4, "model.groups": 2}))
    context, store = simulation.context, simulation.context.place(simulation.federation.test)
    whole = evaluate(context, Weights(simulation.theta_P), store)
    assert context.at_once(512) == 512
    monkeypatch.setattr("fedsam.engine.context.OUTPUTS", 4 * CLASSES * 16 * 12 + 1)
    assert context.at_once(512) == 4
    assert evaluate(context, Weights(simulation.theta_P), store) == pytest.approx(whole, rel=1e-12)
