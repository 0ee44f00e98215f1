"""What only a GPU can show, as functions that need no pytest: the machine that has one may lack it.

Without a GPU they go through the same on the processor, with the work done again in the place of CUDA graphs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fedsam import Run, resume, simulate
from fedsam.engine.context import numerics
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions
from fedsam.engine.support.cuda_graph import CudaGraph, Graphs
from fedsam.engine.support.upload import uploaded
from fedsam.federated.round_loop import Simulation
from tests.support.discovered import ENGINES
from tests.support.kernels import in_block
from tests.support.ragged import Ragged
from tests.support.rounds import Again, assert_same, trained

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
MODELS: dict[str, Any] = {
    "mlp": "mlp",
    "cnn": "cnn",
    "resnet8 group": {"name": "resnet8", "width": 4},
    "resnet8 batch": {"name": "resnet8", "width": 4, "norm": "batch"},
}


def described(engine: str, device: str, precision: str, model: str = "cnn", **changes: Any) -> Run:
    """A short run of seven clients of unequal size."""
    values: dict[str, Any] = {
        "data": Ragged(size=16, channels=3, augment="crop_flip"),
        "model": MODELS[model],
        "client": {"name": "asam", "batch_size": 4, "epochs": 2, "momentum": 0.9},
        "engine": {"name": engine, "device": device, "precision": precision},
        "cohort": 7,
        "rounds": 4,
        "evaluate_every": 2,
        "checkpoint_every": 1,
    }
    return Run(**{**values, **changes})


def agrees_with_the_processor(engine: str, model: str, block: int = 0) -> None:
    """In double precision, client by client."""
    reference = trained(described("loop", "cpu", "fp64", model))
    run = described(engine, DEVICE, "fp64", model)
    there, losses = trained(run.replace(engine=run.engine.replace(block=block)))
    assert_same(reference, ({client: delta_P.cpu() for client, delta_P in there.items()}, losses), bound=1e-8)


def agrees_with_the_loop(precision: str, bound: float) -> None:
    """A block of convolutional networks, whose gradients are written out."""
    loop, found, calls = trained(described("loop", DEVICE, precision)), Im2ColConvolutions.gradient, []

    def gradient(self: Im2ColConvolutions, *given: Any) -> tuple[Tensor, ...]:
        calls.append(given[0].device.type)
        return found(self, *given)

    with mock.patch.object(Im2ColConvolutions, "gradient", gradient):
        assert_same(loop, trained(described("cohort", DEVICE, precision)), bound)
    assert set(calls) == ({"cuda"} if GPU else set())


def gradient_is_replayed(narrow: bool) -> None:
    """The gradient of a block, captured, on other numbers."""
    context = Simulation(described("cohort", DEVICE, "fp32")).context
    kernel = Im2ColConvolutions.match(context.network, torch.device("cuda"), "bf16" if narrow and GPU else "fp32")
    assert kernel is not None
    rng = torch.Generator(DEVICE).manual_seed(0)
    theta_KP = 0.1 * torch.randn(3, context.layout.total, device=DEVICE, generator=rng)
    inputs = torch.randn(3, 4, 3, 16, 16, device=DEVICE, generator=rng)
    targets = torch.randint(3, (3, 4), device=DEVICE, generator=rng)
    valid_KB = torch.ones(3, 4, dtype=torch.bool, device=DEVICE)
    valid_KB[1:, 2:] = False
    given = theta_KP, inputs, targets, valid_KB.sum(dim=1).float(), valid_KB
    gradient = partial(in_block, kernel)
    graph = (CudaGraph if GPU else Again)(lambda: list(gradient(*given)))
    inputs.normal_(generator=rng)
    theta_KP.mul_(0.5)
    graph.replay()
    for one, other in zip(graph.outputs, gradient(*given), strict=True):
        assert other.norm() > 0
        torch.testing.assert_close(one, other, rtol=1e-2 if narrow else 1e-4, atol=1e-3 if narrow else 1e-6)


def ends_in_the_same_bits(precision: str, model: str = "cnn", **client: Any) -> None:
    """Two runs, and a resumed one; by default local steps are captured."""
    changes = {"client": {"name": "asam", "batch_size": 4, "epochs": 2, **client}} if client else {}
    run = described("auto" if GPU else "cohort", DEVICE, precision, model, **changes)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        one, other = simulate(run), simulate(run.replace(out=str(out)))
        assert one.digest == other.digest
        assert one.engine == "cohort"
        gpus = json.loads((out / "run.json").read_text())["environment"]["hardware"]["gpus"]
        assert bool(gpus) == GPU
        assert resume(out).digest == one.digest


def captured_steps_come_to_the_same(engine: str, model: str, client: str) -> None:
    """As launched ones, over four rounds."""
    run = described(engine, DEVICE, "fp64", model).replace(client={"name": client, "batch_size": 4, "epochs": 2})
    launched, captured = (Simulation(run.replace(engine=run.engine.replace(graphs=False))) for _ in range(2))
    captured.trainer.graphs = graphs = Graphs(CudaGraph if GPU else Again)  # type: ignore[attr-defined]
    captured.trainer.padded = True  # type: ignore[attr-defined]
    for _ in range(4):
        launched.advance()
        captured.advance()
        torch.testing.assert_close(captured.theta_P, launched.theta_P, rtol=1e-8, atol=1e-10)
    assert graphs.count > 0


def strategies_keep_vectors(strategy: str) -> None:
    """Client vectors on the device come to what those on the host do."""
    changes: dict[str, Any] = {"server": {"name": strategy}, "client": {"name": "sam", "batch_size": 4, "epochs": 1}}
    there, here = (Simulation(described("cohort", device, "fp64", "mlp", **changes)) for device in (DEVICE, "cpu"))
    for _ in range(4):
        there.advance()
        here.advance()
    torch.testing.assert_close(there.theta_P.cpu(), here.theta_P, rtol=1e-8, atol=1e-10)


def arrays_arrive() -> None:
    """Many copies from pinned memory that is used again and again, none of which is waited for."""
    arrays = [{"x": torch.full((1000,), n).numpy(), "y": torch.full((3, 5), n / 2).numpy()} for n in range(500)]
    found = [uploaded(each, torch.device(DEVICE)) for each in arrays]
    for n, each in enumerate(found):
        assert each["x"].tolist() == [n] * 1000
        assert torch.equal(each["y"].cpu(), torch.full((3, 5), n / 2))


def full_precision_uses_no_tf32() -> None:
    """A product of matrices in fp32."""
    with numerics("fp32"):
        a = torch.randn(256, 256, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(0))
        assert (a @ a - (a.double() @ a.double()).float()).abs().max() < 1e-3


def _all() -> Iterator[tuple[str, Callable[[], None]]]:
    yield "arrays arrive", arrays_arrive
    yield "full precision uses no tf32", full_precision_uses_no_tf32
    for model in MODELS:
        yield f"{model} in blocks agrees with the processor", partial(agrees_with_the_processor, "cohort", model)
    yield "one client alone agrees", partial(agrees_with_the_processor, "cohort", "resnet8 batch", 1)
    for precision in ("fp32", "tf32", "bf16")[:: 1 if GPU else 2]:
        yield f"the same bits in {precision}", partial(ends_in_the_same_bits, precision)
    yield (
        "the same bits with batch normalisation",
        partial(ends_in_the_same_bits, "fp32", "resnet8 batch", momentum=0.5),
    )
    for narrow in (False, True):
        yield f"a replayed gradient{' in bf16' * narrow}", partial(gradient_is_replayed, narrow)
    for precision, bound in (("fp64", 1e-10), ("fp32", 1e-3)):
        yield f"written out in {precision} agrees with the loop", partial(agrees_with_the_loop, precision, bound)
    for engine, model, client in product(ENGINES, MODELS, ("sgd", "asam", "lookbehind")):
        work = partial(captured_steps_come_to_the_same, engine, model, client)
        yield f"captured {client}, {model}, {engine}", work
    for strategy in ("scaffold", "fedsmoo"):
        yield f"vectors of {strategy}", partial(strategies_keep_vectors, strategy)
    for model in MODELS:
        yield f"{model}, one by one, agrees with the processor", partial(agrees_with_the_processor, "loop", model)


CHECKS = dict(_all())
"""By what they show, the most telling first."""
