"""What only a GPU can show; `pytest -m gpu` runs it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import Run, resume, simulate
from fedsam.engine.context import numerics
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions
from fedsam.engine.support.cuda_graph import CudaGraph
from fedsam.federated.round_loop import Simulation
from tests.support.discovered import ENGINES
from tests.support.kernels import in_block
from tests.support.ragged import Ragged
from tests.support.rounds import assert_same, trained

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


def described(engine: str, device: str, precision: str, model: str = "cnn") -> Run:
    return Run(
        data=Ragged(size=16, channels=3, augment="crop_flip"),
        model=model,
        client={"name": "asam", "batch_size": 4, "epochs": 2, "momentum": 0.9},
        engine={"name": engine, "device": device, "precision": precision},
        cohort=7,
        rounds=4,
        evaluate_every=2,
        checkpoint_every=1,
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet20"])
def test_gpu_agrees_with_cpu_in_double_precision(engine: str, model: str) -> None:
    reference = trained(described("loop", "cpu", "fp64", model))
    on_gpu, losses = trained(described(engine, "cuda", "fp64", model))
    assert_same(reference, ({client: delta_P.cpu() for client, delta_P in on_gpu.items()}, losses), bound=1e-8)


@pytest.mark.parametrize(("precision", "bound"), [("fp64", 1e-10), ("fp32", 1e-3)])
def test_a_block_of_convolutional_networks_agrees_with_the_loop(
    precision: str, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, found, calls = trained(described("loop", "cuda", precision)), Im2ColConvolutions.gradient, []

    def gradient(self: Im2ColConvolutions, *given: Any) -> tuple[Tensor, ...]:
        calls.append(given[0].device.type)
        return found(self, *given)

    monkeypatch.setattr(Im2ColConvolutions, "gradient", gradient)
    assert_same(loop, trained(described("cohort", "cuda", precision)), bound)
    assert set(calls) == {"cuda"}


@pytest.mark.parametrize("narrow", [False, True])
def test_the_gradient_of_a_block_can_be_captured_and_replayed(narrow: bool) -> None:
    context = Simulation(described("cohort", "cuda", "fp32")).context
    kernel = Im2ColConvolutions.match(context.network, context.device, "bf16" if narrow else "fp32")
    assert kernel is not None
    rng = torch.Generator("cuda").manual_seed(0)
    theta_KP = 0.1 * torch.randn(3, context.layout.total, device="cuda", generator=rng)
    inputs = torch.randn(3, 4, 3, 16, 16, device="cuda", generator=rng)
    targets = torch.randint(3, (3, 4), device="cuda", generator=rng)
    valid_KB = torch.ones(3, 4, dtype=torch.bool, device="cuda")
    valid_KB[1:, 2:] = False
    given = theta_KP, inputs, targets, valid_KB.sum(dim=1).float(), valid_KB
    gradient = partial(in_block, kernel)
    graph = CudaGraph(lambda: list(gradient(*given)))
    inputs.normal_(generator=rng)
    theta_KP.mul_(0.5)
    graph.replay()
    for one, other in zip(graph.outputs, gradient(*given), strict=True):
        assert other.norm() > 0
        torch.testing.assert_close(one, other, rtol=1e-2 if narrow else 1e-4, atol=1e-3 if narrow else 1e-6)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_two_runs_on_a_gpu_give_the_same_bits(precision: str, tmp_path: Path) -> None:
    run = described("auto", "cuda", precision)
    one, other = simulate(run), simulate(run.replace(out=str(tmp_path / "run")))
    assert one.digest == other.digest
    assert one.engine == "cohort"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["environment"]["hardware"]["gpus"]
    assert resume(tmp_path / "run").digest == one.digest


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet20"])
@pytest.mark.parametrize("client", ["sgd", "asam", "lookbehind"])
def test_captured_steps_come_to_the_same(engine: str, model: str, client: str) -> None:
    run = described(engine, "cuda", "fp64", model).replace(client={"name": client, "batch_size": 4, "epochs": 2})
    launched, captured = (Simulation(run.replace(engine=run.engine.replace(graphs=on))) for on in (False, True))
    for _ in range(4):
        launched.advance()
        captured.advance()
        torch.testing.assert_close(captured.theta_P, launched.theta_P, rtol=1e-9, atol=1e-11)
    assert captured.trainer.graphs.count > 0  # type: ignore[attr-defined]


def test_two_runs_of_captured_steps_give_the_same_bits(tmp_path: Path) -> None:
    run = described("auto", "cuda", "fp32")
    run = run.replace(engine=run.engine.replace(graphs=True))
    one, other = simulate(run), simulate(run.replace(out=str(tmp_path / "run")))
    assert one.digest == other.digest
    assert resume(tmp_path / "run").digest == one.digest


def test_full_precision_uses_no_tf32() -> None:
    with numerics("fp32"):
        a = torch.randn(256, 256, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
        assert (a @ a - (a.double() @ a.double()).float()).abs().max() < 1e-3
