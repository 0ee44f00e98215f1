"""The written-out gradient of convolutional networks against autograd, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.engine.context import RunContext
from fedsam.engine.kernels.cnn_cpu import CPUConvolutions
from fedsam.engine.kernels.convolution import TOGETHER, pooled_places, unpooled_places
from fedsam.engine.kernels.fourier import Fourier
from fedsam.federated.round_loop import Simulation
from fedsam.params import theta_of
from fedsam.run import Run
from tests.support.convolutions import CLASSES, NETWORKS, OTHERS, head
from tests.support.kernels import alone, by_autograd, matched


def of(module: nn.Module, precision: str = "fp32") -> CPUConvolutions | None:
    return matched(CPUConvolutions, module, precision=precision)


def batch(shape: tuple[int, int, int], size: int, soft: bool = False) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(size)
    inputs = torch.randn(size, *shape, generator=rng, dtype=torch.float64)
    if soft:
        return inputs, torch.rand(size, CLASSES, generator=rng, dtype=torch.float64)  # whose sum is not 1
    return inputs, torch.randint(CLASSES, (size,), generator=rng)


@pytest.mark.parametrize("size", [1, 3, TOGETHER + 5])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_is_autograds(name: str, soft: bool, size: int) -> None:
    module, shape = NETWORKS[name]
    written = of(module.double())
    assert written is not None
    inputs, targets = batch(shape, size, soft)
    gradient, loss = alone(written, theta_of(module), inputs, targets)
    expected, expected_loss = by_autograd(module, theta_of(module), inputs, targets)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)


def test_fourier_coefficients_are_used_where_they_should_be() -> None:
    """Else the comparison above would say nothing of them."""
    module, shape = NETWORKS["fourier, odd sides, no pooling"]
    written = of(module.double())
    assert written is not None
    x, used = batch(shape, TOGETHER + 5)[0], []
    weights = [(layer.weight, layer.bias) for layer in module if isinstance(layer, nn.Conv2d)]
    for stage, parameters in zip(written.stages, weights, strict=False):
        with torch.no_grad():
            x, kept = stage.forward(x, parameters)
        used.append(kept[0] is not None)
    assert used == [True, True]


def test_equal_numbers_are_pooled_as_in_torch() -> None:
    """Of images that are constant every window has four equal numbers, of which the first gets the derivative."""
    for name in ("the paper's", "relu before pooling"):
        module, shape = NETWORKS[name]
        written = of(module.double())
        assert written is not None
        inputs = torch.ones(20, *shape, dtype=torch.float64) * torch.linspace(-1, 1, 20)[:, None, None, None].double()
        targets = torch.arange(20) % CLASSES
        gradient, _ = alone(written, theta_of(module), inputs, targets)
        expected, _ = by_autograd(module, theta_of(module), inputs, targets)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sides", [(6, 6), (7, 4), (3, 5)])
def test_places_are_pooled_as_in_torch(sides: tuple[int, int]) -> None:
    """Of few different numbers, so that many windows have equal ones."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 2, (20, 6, *sides), generator=rng).double().requires_grad_()
    pooled = F.max_pool2d(x, 2)
    d = torch.randn(pooled.shape, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        places = x.detach().permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
        ours, kept = pooled_places(places)
        assert torch.equal(ours, pooled)
        torch.testing.assert_close(unpooled_places(d, *kept), torch.autograd.grad(pooled, x, d)[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["the paper's", "relu before pooling", "no pooling, padding"])
def test_bfloat16_errs_about_as_much_as_autocast(name: str) -> None:
    module, shape = NETWORKS[name]
    module.float()
    written = of(module, "bf16")
    assert written is not None
    inputs, targets = batch(shape, 32)
    exact, _ = by_autograd(module, theta_of(module), inputs.float(), targets)
    ours, _ = alone(written, theta_of(module), inputs.float(), targets)
    theirs, _ = by_autograd(module, theta_of(module), inputs.float(), targets, narrow=True)
    assert ours.dtype == torch.float32
    error, usual = ((found - exact).norm() / exact.norm() for found in (ours, theirs))
    assert 0 < error < 3 * usual


@pytest.mark.parametrize("name", OTHERS)
def test_leaves_other_networks_to_autograd(name: str) -> None:
    assert of(OTHERS[name]) is None


@pytest.mark.parametrize(("pool", "message"), [(False, "Kernel size can't be greater"), (True, "size is too small")])
@pytest.mark.parametrize("fourier", [False, True])
def test_images_that_are_too_small_are_refused_as_in_torch(
    pool: bool, message: str, fourier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fourier coefficients of them would give numbers."""
    monkeypatch.setattr(Fourier, "pays", lambda *_: fourier)
    side = 9 if pool else 3
    module = nn.Sequential(nn.Conv2d(4, 4, 9), *([nn.MaxPool2d(2)] if pool else []), *head(4)).double()
    written = of(module)
    assert written is not None
    with pytest.raises(RuntimeError, match=message):
        alone(written, theta_of(module), *batch((4, side, side), 64))


@pytest.mark.parametrize("name", ["sam", "asam"])
def test_rounds_are_those_of_autograd(name: str) -> None:
    keys: dict[str, Any] = {"data.name": "synthetic", "data.size": 16, "data.clients": 4, "model.name": "cnn"}
    keys |= {"model.channels": 8, "client.name": name, "engine.name": "loop", "engine.precision": "fp64", "cohort": 3}

    def trained(written: bool) -> Tensor:
        simulation = Simulation(Run.from_keys(keys | {"engine.threads": 1}))
        context: RunContext = simulation.context
        assert isinstance(context.kernels[0], CPUConvolutions)
        context.kernels = context.kernels if written else context.kernels[1:]
        for _ in range(2):
            simulation.advance()
        simulation.close()
        return simulation.theta_P

    ours, theirs = trained(True), trained(False)
    assert not torch.equal(ours, theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
