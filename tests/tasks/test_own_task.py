"""A task, a data set and a model of somebody's own, defined here alone: regression on a table, on every engine.

Shapes: N examples, D outputs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fedsam import Run, resume, simulate
from fedsam.cli import main
from fedsam.data.base import Split
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.errors import InputError
from fedsam.federated.round_loop import Simulation
from fedsam.reports.write import write_report
from fedsam.rng import stream
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from fedsam.tasks.base import Metric, Task, Weight
from fedsam.tuning.ledger import Report
from fedsam.tuning.trial import follow
from fedsam.tuning.tune import Plan
from fedsam.tuning.tune import Settings as TuneSettings
from tests.support.discovered import ENGINES, OTHERS

HERE = "tests.tasks.test_own_task"
FEATURES, OUTPUTS = 5, 2


class RMSE(Metric):
    """√(Σ (z − y)² / (N D))."""

    name, better, unit = "rmse", "lower", ""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack(
            [(outputs - targets).double().square().mean(dim=1), targets.new_ones(len(targets)).double()], 1
        )

    def value(self, total_S: np.ndarray) -> float:
        return float(np.sqrt(total_S[0] / total_S[1]))


class Regression(Task):
    """Mean squared error: l = Σ_d (z_d − y_d)² / D."""

    metrics: ClassVar[tuple[Metric, ...]] = (RMSE(),)

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        return spec.target_shape

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        return (outputs - targets).square().mean(dim=1), 1.0


class Table(Partitioned):
    """A noisy linear function, as float32."""

    task: ClassVar[str | Task] = f"{HERE}:Regression"
    offers: ClassVar[frozenset[str]] = frozenset()

    def read(self) -> tuple[Spec, Split, Split]:
        rng = stream(0, "table")
        slopes = rng.standard_normal((FEATURES, OUTPUTS))
        inputs = rng.standard_normal((180, FEATURES)).astype(np.float32)
        targets = (inputs @ slopes + 0.1 * rng.standard_normal((180, OUTPUTS))).astype(np.float32)
        spec = Spec(None, (FEATURES,), target_shape=(OUTPUTS,))
        return spec, Split(inputs[:120], targets[:120]), Split(inputs[120:], targets[120:])


def net(width: int = 6) -> nn.Module:
    """A plain perceptron, which the kernel for these computes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, OUTPUTS))


KEYS: dict[str, Any] = {
    "data.name": f"{HERE}:Table",
    "data.partition": "quantity",
    "data.sigma": 0.6,
    "data.clients": 8,
    "data.local_test": 0.2,
    "model.name": f"{HERE}:net",
    "client.lr": 0.05,
    "client.batch_size": 4,
    "client.epochs": 1,
    "rounds": 4,
    "evaluate_every": 2,
    "cohort": 4,
    "engine.threads": 1,
    "engine.precision": "fp64",
}
WAYS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sam": {"client.name": "sam"},
    "swa": {"average.name": "swa", "average.start": 0.25, "average.cycle": 1},
    "scaffold": {"server.name": "scaffold"},
}


def described(**changes: Any) -> Run:
    return Run.from_keys({**KEYS, **changes})


@pytest.mark.parametrize("way", WAYS)
def test_every_engine_learns_it_alike(way: str) -> None:
    records = {}
    for engine in ENGINES:
        records[engine] = simulate(described(**WAYS[way], **{"engine.name": engine, "local.every": 2})).metrics
    for engine in OTHERS:
        for one, other in zip(records["loop"], records[engine], strict=True):
            assert one["test_rmse"] == pytest.approx(other["test_rmse"], rel=1e-9)
            assert one["local"]["after"]["mean"] == pytest.approx(other["local"]["after"]["mean"], rel=1e-9)
    assert records["loop"][-1]["test_rmse"] < records["loop"][0]["test_rmse"]
    assert "test_accuracy" not in records["loop"][-1]


def test_the_gradient_in_a_block_is_that_of_the_squared_error() -> None:
    """By hand, not by the kernels: a perceptron must not be given the gradient of another loss."""
    simulation = Simulation(described(**{"engine.name": "cohort", "client.epochs": 1, "client.batch_size": 64}))
    assert any(isinstance(kernel, Perceptron) for kernel in simulation.context.kernels)
    context = simulation.context
    order = simulation.order(simulation.clock(), 0.05)
    (block,) = simulation.trainer.train(simulation.theta_P, order)
    store, index = simulation.federation.examples(order.ids)
    for row, client in enumerate(block.ids):
        own = index[order.ids.index(client)]
        inputs, targets = (torch.from_numpy(each[own]).double() for each in (store.inputs, store.targets))
        leaf = simulation.theta_P.clone().requires_grad_()
        outputs = torch.func.functional_call(context.module, context.layout.views(leaf), (inputs,))
        loss = ((outputs - targets) ** 2).mean()
        (gradient_P,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(block.rows[row], -0.05 * gradient_P, rtol=1e-9, atol=1e-12)
        assert block.loss_K[row] == pytest.approx(loss.item(), rel=1e-9)


def test_a_run_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    whole = simulate(described())
    short = simulate(described(rounds=2, out=str(tmp_path / "short")))
    assert short.metrics[0]["test_rmse"] == whole.metrics[0]["test_rmse"]
    described_ = json.loads((tmp_path / "short" / "run.json").read_text())["keys"]
    assert described_["data.name"] == f"{HERE}:Table"
    assert resume(tmp_path / "short").digest == short.digest


def test_what_needs_classes_or_images_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "read", lambda self: pytest.fail("loaded"))
    cases: Sequence[tuple[dict[str, Any], str]] = (
        ({"data.partition": "dirichlet"}, r"data\.partition = dirichlet: needs classes, .*use .*iid"),
        ({"data.augment": "crop_flip"}, r"data\.augment = crop_flip: needs images"),
        ({"data.augment": "smoothing", "data.smoothing_after": "none"}, r"data\.augment = smoothing: needs classes"),
        ({"data.label_noise": 0.1}, r"data\.label_noise = 0\.1: needs classes"),
        ({"data.pixels": "unit"}, r"data\.pixels = unit: needs images"),
        ({"attack.name": "pgd"}, r"attack\.name = pgd: needs images"),
        (
            {"client.name": "adversarial"},
            r"client\.name = adversarial: needs images|client\.attack = pgd: needs images",
        ),
    )
    for changes, message in cases:
        keys = {name: value for name, value in KEYS.items() if name != "data.sigma" or "data.partition" not in changes}
        with pytest.raises(InputError, match=message):
            Run.from_keys({**keys, **changes})


def test_a_model_of_another_output_is_refused() -> None:
    with pytest.raises(InputError, match=r"must give logits \[2, 2\]"):
        Simulation(described(**{"model.name": f"{HERE}:wrong"}))


def wrong() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(FEATURES, 3))


def test_a_comparison_and_its_report_go_by_the_error(tmp_path: Path) -> None:
    runs = {"slow": described(**{"client.lr": 0.01}), "fast": described(**WAYS["swa"])}
    found = compare(runs, 2, Progress(quiet=True), out=tmp_path / "compared")
    slow, fast = found.rows()
    assert fast["mean"] == pytest.approx(sum(fast["test_rmse"]) / 2)
    assert fast["difference"] == pytest.approx(fast["mean"] - slow["mean"])
    assert "| setting | rmse | less the first |" in (tmp_path / "compared" / "table.md").read_text()
    (of_one, *_) = (tmp_path / "compared").glob("*-seed0")
    assert {"round", "examples", "rmse", "loss"} == set(json.loads((of_one / "clients.json").read_text()))
    assert set(json.loads((of_one / "partition.json").read_text())["measures"]) == {"gini"}  # there are no labels
    assert "test rmse" in write_report([tmp_path / "compared"], tmp_path / "page.html").read_text()
    with pytest.raises(InputError, match=r"is judged by accuracy, another run by rmse; compare them apart"):
        compare({**runs, "digits": Run()}, 1, Progress(quiet=True), out=tmp_path / "other")


def test_the_loss_around_its_model_is_measured_with_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(described(out=str(tmp_path / "run")))
    done(["geometry", str(tmp_path / "run"), "--images", "20", "--surface", "3", "--quiet"])
    shown = capsys.readouterr().out
    assert "loss and rmse there" in shown
    assert "%" not in shown
    found = json.loads((tmp_path / "run" / "geometry.json").read_text())
    assert found["global"]["rmse"] == pytest.approx(found["global"]["loss"] ** 0.5)
    assert found["surface"]["rmse"][1][1] == pytest.approx(found["global"]["rmse"])
    assert {"rmse", "rmse_std"} < set(found["noise"][0])


def test_a_search_goes_by_the_error(tmp_path: Path) -> None:
    plan = Plan(TuneSettings(keys={**KEYS, "client.lr": "0.01..0.1"}))
    assert (plan.score.name, plan.score.better) == ("rmse", "lower")
    heard: list[Report] = []
    follow(plan.trial({"client.lr": 0.05}, tmp_path / "trial"), heard.append)
    records = [json.loads(line) for line in (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()]
    assert [report.value for report in heard] == [record["validation_rmse"] for record in records]


def done(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, None)


def test_the_command_shows_the_metric_as_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{name}={value}" for name, value in KEYS.items()]
    done(["run", *words, "rounds=2", f"out={tmp_path / 'run'}", "--quiet"])
    shown = capsys.readouterr().out
    assert "test rmse" in shown
    assert "%" not in shown
    assert "report.html" in shown
    assert "test rmse" in (tmp_path / "run" / "report.html").read_text()
    done(["run", "--resume", str(tmp_path / "run"), "--json", "--quiet"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["test_rmse"] > 0
    assert "test_accuracy" not in summary


def command(folder: Path, *arguments: str) -> Any:
    """What a command prints with --json, of a process of its own that finds this file."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [f"{name}={value}" for name, value in KEYS.items()]
    line = [sys.executable, "-m", "fedsam", arguments[0], *words, *arguments[1:], "--quiet", "--json"]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ALL = {"client.name": "sam", "server.name": "scaffold", **WAYS["swa"]}


@pytest.mark.parametrize("engine", ["ray", pytest.param("flower", marks=pytest.mark.slow)])
def test_started_engines_learn_it_to_the_same_weights(engine: str, tmp_path: Path) -> None:
    """SAM, SCAFFOLD and SWA at once."""
    pytest.importorskip("ray")
    pytest.importorskip("flwr")
    words = [f"{name}={value}" for name, value in ALL.items()]
    there = command(tmp_path, "run", *words, f"engine.name={engine}", f"out={tmp_path / 'there'}")
    for name in ENGINES:
        here = simulate(described(**ALL, **{"engine.name": name}))
        found = load_file(tmp_path / "there" / "model.safetensors")
        for place, tensor in here.state.items():
            torch.testing.assert_close(found[place], tensor, rtol=1e-10, atol=1e-10)
    assert there["test_rmse"] == pytest.approx(here.metrics[-1]["test_rmse"], rel=1e-9)


def test_a_sweep_is_judged_by_the_error(tmp_path: Path) -> None:
    found = command(tmp_path, "sweep", "client.name=sgd,sam", "--seeds", "2", "out=swept")
    assert len(found) == 2
    assert all(row["mean"] == pytest.approx(sum(row["test_rmse"]) / 2) for row in found)


@pytest.mark.slow
def test_tuning_takes_the_smallest_error(tmp_path: Path) -> None:
    pytest.importorskip("ray.tune")
    command(tmp_path, "tune", "client.lr=1e-4,0.05", "--search", "grid", "--seeds", "1", "--out", "tuned")
    best = tomllib.loads((tmp_path / "tuned" / "best.toml").read_text())
    assert best["client"]["lr"] == 0.05
