"""What cannot be trained in blocks, or not be measured, is found when a run is built, or recorded; it ends no run."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsam import Run, simulate
from fedsam.algorithm.client_hooks import ClientContext
from fedsam.engine.blocks import why_not, why_not_together
from fedsam.errors import DivergedError, RunError
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.landscape import Landscape
from fedsam.measure.hessian import Hessian
from fedsam.reports.write import write_report
from fedsam.runs.directory import RunDirectory
from fedsam.runs.progress import Progress
from fedsam.strategies.fedavg import FedAvg
from fedsam.sweeps.compare import compare
from fedsam.tuning.trial import follow
from tests.support.ragged import Ragged

HERE = __name__


class Recurrent(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x[:, 0])[0][:, -1])


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Flat(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.changed(x.flatten(1)))

    def changed(self, x: Tensor) -> Tensor:
        return x.tanh()


class Straight(Flat):
    def changed(self, x: Tensor) -> Tensor:
        return _Sign.apply(self.out.weight[0] * x)


class Branching(Flat):
    def changed(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else 2 * x


class Filled(Flat):
    def changed(self, x: Tensor) -> Tensor:
        wide = torch.zeros(len(x), 64, dtype=x.dtype)
        wide[:, :60] = x[:, :60]
        return wide


class Centred(Flat):
    """Under vmap without an error, but images that fill up a batch are in its mean."""

    def changed(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


class Attention(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        hidden, _ = self.attention(x, x, x, need_weights=False)
        return self.out(nn.functional.scaled_dot_product_attention(hidden, x, x).mean(dim=1))


class Choosy(FedAvg):
    """Control flow on data in a strategy."""

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        return gradient_P if gradient_P.norm() > 0 else -gradient_P


def recurrent(classes: int) -> nn.Module:
    return Recurrent(classes)


def straight(classes: int) -> nn.Module:
    return Straight(classes)


def branching(classes: int) -> nn.Module:
    return Branching(classes)


def filled(classes: int) -> nn.Module:
    return Filled(classes)


def centred(classes: int) -> nn.Module:
    return Centred(classes)


def flat(classes: int) -> nn.Module:
    return Flat(classes)


def attention(classes: int) -> nn.Module:
    return Attention(classes)


NOT = ["recurrent", "straight", "branching", "filled", "centred"]


def described(model: str = "flat", **keys: Any) -> Run:
    common = {"data": Ragged(), "model.name": model if model == "mlp" else f"{HERE}:{model}", "client.lr": 0.1}
    common |= {"cohort": 4, "rounds": 2, "evaluate_every": 1, "engine.threads": 1, "engine.precision": "fp64"}
    return Run.from_keys({**common, **keys})


@pytest.mark.parametrize("model", NOT)
def test_what_cannot_be_trained_in_blocks_is_trained_one_by_one(model: str) -> None:
    run = described(model)
    context = Simulation(run).context
    engine, reason = run.engine.choose(context)
    assert engine.name == "loop"
    assert "cannot be trained in blocks" in reason
    assert why_not(context) in reason
    asked = Simulation(described(model, **{"engine.name": "cohort"}))
    assert "cannot be trained in blocks" in asked.reason
    found, loop = simulate(run), simulate(described(model, **{"engine.name": "loop"}))
    assert (found.digest, found.engine) == (loop.digest, "loop")


@pytest.mark.parametrize("model", ["flat", "attention", "mlp"])
def test_what_can_is(model: str) -> None:
    simulation = Simulation(described(model))
    assert simulation.engine.name == "cohort"
    assert why_not(simulation.context) == why_not_together(simulation.context) == ""


def test_own_parts_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("tried")

    monkeypatch.setattr("fedsam.engine.blocks.Two", never)
    assert why_not(Simulation(described("mlp", **{"client.name": "asam", "server.name": "scaffold"})).context) == ""


def test_other_parts_are_tried_too() -> None:
    run = described("mlp", **{"server.name": f"{HERE}:Choosy"})
    assert Simulation(run).engine.name == "loop"


def test_a_sweep_of_what_cannot_be_trained_in_blocks(tmp_path: Path) -> None:
    runs = {f"lr {lr}": described("branching", **{"client.lr": lr}) for lr in (0.1, 0.05)}
    comparison = compare(runs, 1, Progress(quiet=True), out=tmp_path)
    assert list(comparison.metrics) == list(runs)
    engines = [json.loads(file.read_text())["environment"]["engine"] for file in tmp_path.glob("*/run.json")]
    assert engines == ["loop", "loop"]


def test_surfaces_of_models_that_cannot_be_evaluated_at_once() -> None:
    simulation = Simulation(described("recurrent"))
    assert "RuntimeError" in why_not_together(simulation.context)
    test = simulation.federation.test
    landscape = Landscape(simulation.context, test.inputs, test.targets)
    theta_GP = torch.stack([simulation.theta_P, 2 * simulation.theta_P])
    loss_G, _ = landscape.losses_and_values(theta_GP)
    assert landscape.together == 1
    assert loss_G.tolist() == [landscape.loss(theta_P) for theta_P in theta_GP]


def test_the_hessian_of_attention() -> None:
    simulation = Simulation(described("attention"))
    test = simulation.federation.test
    landscape = Landscape(simulation.context, test.inputs[:20], test.targets[:20])
    theta_P = simulation.theta_P
    vectors_PK = torch.randn(len(theta_P), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-5
    for k, product_P in enumerate(landscape.hvp(theta_P, vectors_PK).T):
        ahead, behind = (landscape.gradient(theta_P + sign * step * vectors_PK[:, k]) for sign in (1, -1))
        torch.testing.assert_close(product_P, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


# what is only measured


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no second derivative\nof this")


@pytest.fixture
def noted(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "fedsam")
    return caplog


MEASURED = {
    "geometry": ("fedsam.measure.hessian.Hessian.measure", {"geometry.every": 1}),
    "diagnostics": ("fedsam.measure.updates.UpdateDiagnostics.measure", {"diagnostics.every": 1}),
    "local": ("fedsam.measure.accuracy.Accuracy.measure", {"local.every": 1, "data.local_test": 0.25}),
    "robust_accuracy": ("fedsam.measure.schedule.robust_score", {"attack.name": "pgd", "attack.steps": 1}),
}


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_only_measured_ends_no_run(
    name: str, monkeypatch: pytest.MonkeyPatch, noted: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    place, keys = MEASURED[name]
    digits = {"data": "digits", "data.clients": 6, "cohort": 3, "out": str(tmp_path / "run"), **keys}
    keys = {"model.name": "mlp", "rounds": 2, "evaluate_every": 1, "engine.threads": 1, "client.lr": 0.1}
    run = Run.from_keys({**keys, **{k: v for k, v in digits.items() if k != "data"}})
    monkeypatch.setattr(place, broken)
    result = simulate(run)
    assert [record[name] for record in result.metrics] == [None, None]
    assert result.metrics[0][f"{name}_error"] == "RuntimeError: no second derivative"
    assert noted.text.count(f"{name} is not measured") == 1
    assert RunDirectory.open(tmp_path / "run")[0].metrics() == result.metrics
    write_report([tmp_path / "run"], tmp_path / "report.html")
    json.dumps(result.summary(), allow_nan=False)


def test_numbers_that_are_not_finite_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hessian, "measure", lambda self, snapshot: {"eigenvalues": [1.0, math.inf]})
    record = simulate(described("mlp", **{"geometry.every": 1, "rounds": 1})).metrics[-1]
    assert (record["geometry"], record["geometry_error"]) == (None, "some of its numbers are not finite")


def test_clients_that_cannot_be_evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fedsam.measure.schedule.LocalTests.scores", broken)
    keys = {"data.local_test": 0.25, "data.clients": 5, "cohort": 2, "rounds": 1, "out": str(tmp_path / "run")}
    simulate(Run.from_keys(keys))
    assert json.loads((tmp_path / "run" / "clients.json").read_text()) == {
        "round": 1,
        "error": "RuntimeError: no second derivative",
    }
    write_report([tmp_path / "run"], tmp_path / "report.html")


# what a run is judged by

STEEP = {
    "data.name": "synthetic",
    "data.size": 16,
    "data.samples_per_client": 20,
    "data.test_samples": 50,
    "data.clients": 4,
    "cohort": 2,
    "model.depth": 4,
    "client.batch_size": 20,
    "client.epochs": 1,
    "evaluate_every": 1,
    "rounds": 12,
    "engine.threads": 1,
}


def test_a_loss_that_overflows_at_evaluation_has_diverged(tmp_path: Path) -> None:
    run = Run.from_keys({**STEEP, "client.lr": 10, "out": str(tmp_path / "one")})
    with pytest.raises(DivergedError, match=r"the test loss of the global model is not finite; lower client.lr"):
        simulate(run)
    assert RunDirectory.open(tmp_path / "one")[0].metrics()
    trial = Run.from_keys({**STEEP, "client.lr": 10, "data.validation": 0.2, "out": str(tmp_path / "trial")})
    assert "validation loss of the global model is not finite" in follow(trial, lambda report: None)


def test_in_a_sweep_the_others_finish(tmp_path: Path) -> None:
    runs = {f"lr {lr}": Run.from_keys({**STEEP, "client.lr": lr, "rounds": 8}) for lr in (10, 0.1)}
    with pytest.raises(RunError, match=r"^1 of 2 runs failed: lr 10, seed 0: .*test loss"):
        compare(runs, 1, Progress(quiet=True), out=tmp_path)
    assert [row["setting"] for row in json.loads((tmp_path / "compare.json").read_text())] == ["lr 0.1"]


# what is set around a run


def test_nothing_that_is_set_around_a_run_changes_its_bits() -> None:
    keys = {"rounds": 1, "cohort": 2, "engine.threads": 1}
    runs = [Run.from_keys({**keys, "model.name": name, **more}) for name, more in (("mlp", {}), (f"{HERE}:flat", {}))]
    expected = [simulate(run).digest for run in runs]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert [simulate(run).digest for run in runs] == expected
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


class Twice(nn.Module):
    """A convolution with a bias, of what another one gave."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(self.first(x).relu()).relu().flatten(1))


def test_convolutions_with_biases_in_bfloat16() -> None:
    keys = {"data.clients": 8, "cohort": 3, "rounds": 1, "client.lr": 0.01, "model.name": f"{HERE}:Twice"}
    found = {}
    for engine in ("loop", "cohort"):
        run = Run.from_keys({**keys, "engine.name": engine, "engine.precision": "bf16", "engine.threads": 1})
        simulation = Simulation(run)
        assert not why_not(simulation.context)
        start_P = simulation.theta_P
        simulation.advance()
        found[engine] = simulation.theta_P - start_P
    apart = float((found["cohort"] - found["loop"]).norm() / found["loop"].norm())
    assert apart < 0.05  # of a bfloat16's 0.008 in each step


def test_a_deep_network_with_such_convolutions_is_trained_in_blocks() -> None:
    keys = {"data.name": "shapes", "data.size": 32, "data.clients": 8, "model.name": "lraspp", "model.width": 0.25}
    keys |= {"cohort": 2, "rounds": 1, "client.batch_size": 8, "engine.name": "cohort", "engine.precision": "bf16"}
    assert math.isfinite(simulate(Run.from_keys(keys)).metrics[-1]["test_loss"])
