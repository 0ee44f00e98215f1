"""The written-out gradient of a multilayer perceptron against autograd, one client at a time, in float64."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from fedsam.engine.kernels.base import Head
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.models.mlp import MLP
from fedsam.params import Layout, layout_of
from fedsam.tasks.classification import Classification
from tests.support.kernels import alone, by_autograd, in_block, matched

K, B, L = 3, 5, 4


def mlp(depth: int) -> nn.Module:
    return MLP(width=6, depth=depth).module((3, 2, 1), L, 0).double()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("mixed", [False, True], ids=["classes", "probabilities"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_as_autograd(depth: int, mixed: bool, masked: bool) -> None:
    draw = torch.Generator().manual_seed(depth)
    module = mlp(depth)
    layout = layout_of(module)
    theta_KP = torch.randn(K, layout.total, generator=draw, dtype=torch.float64)
    inputs = torch.randn(K, B, 1, 3, 2, generator=draw, dtype=torch.float64)
    targets = torch.randint(L, (K, B), generator=draw)
    if mixed:  # weights of two classes that do not sum to one
        targets = torch.rand(K, B, L, generator=draw, dtype=torch.float64)
    count_K = torch.tensor([5, 2, 1]) if masked else torch.full((K,), B)
    valid_KB = torch.arange(B) < count_K[:, None]
    dense = matched(Perceptron, module, layout)
    assert dense is not None
    given = theta_KP.clone()
    gradient_KP, loss_K = in_block(dense, given, inputs, targets, count_K.double(), valid_KB if masked else None)
    assert torch.equal(given, theta_KP)
    for k, count in enumerate(count_K.tolist()):
        want_P, loss = by_autograd(module, theta_KP[k], inputs[k, :count], targets[k, :count])
        assert (gradient_KP[k] - want_P).norm() <= 1e-12 * want_P.norm()
        assert abs(loss_K[k] - loss) <= 1e-12 * abs(loss)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("chosen", [None, [0, 2, 4]], ids=["whole", "chosen"])
def test_one_client_as_autograd(depth: int, chosen: list[int] | None) -> None:
    """Of a whole batch, and of some examples of it, as ESAM takes them."""
    draw = torch.Generator().manual_seed(depth)
    module = mlp(depth)
    theta_P = torch.randn(layout_of(module).total, generator=draw, dtype=torch.float64)
    inputs = torch.randn(B, 1, 3, 2, generator=draw, dtype=torch.float64)
    targets = torch.randint(L, (B,), generator=draw)
    kernel, given = matched(Perceptron, module), theta_P.clone()
    assert kernel is not None
    if chosen is None:
        gradient_P, loss = alone(kernel, given, inputs, targets)
        want_P, wanted = by_autograd(module, theta_P, inputs, targets)
    else:
        valid_B = torch.zeros(B, dtype=torch.bool)
        valid_B[chosen] = True
        head = Head(Classification(), targets, torch.tensor(float(len(chosen))), valid_B)
        gradient_P, loss = kernel.gradient(given, inputs, head)
        want_P, wanted = by_autograd(module, theta_P, inputs[chosen], targets[chosen])
    assert torch.equal(given, theta_P)
    assert (gradient_P - want_P).norm() <= 1e-12 * want_P.norm()
    assert abs(loss - wanted) <= 1e-12 * abs(wanted)


def test_what_is_masked_is_not_looked_at() -> None:
    module = mlp(1)
    dense = matched(Perceptron, module)
    assert dense is not None
    theta_KP = torch.randn(1, layout_of(module).total, dtype=torch.float64)
    inputs, targets = torch.randn(1, 2, 6, dtype=torch.float64), torch.tensor([[1, 2]])
    valid_KB, count_K = torch.tensor([[True, False]]), torch.ones(1, dtype=torch.float64)
    clean = in_block(dense, theta_KP, inputs, targets, count_K, valid_KB)
    inputs[0, 1] *= 1e3
    targets[0, 1] = 0
    gradient_KP, loss_K = in_block(dense, theta_KP, inputs, targets, count_K, valid_KB)
    assert torch.equal(clean[0], gradient_KP)
    assert torch.equal(clean[1], loss_K)


def frozen(module: nn.Module) -> nn.Module:
    next(module.parameters()).requires_grad_(False)
    return module


def hooked(module: nn.Module) -> nn.Module:
    module[1].register_forward_hook(lambda layer, given, found: 2 * found)  # type: ignore[index, operator]
    return module


def louder(module: nn.Module) -> nn.Module:
    module[1].forward = lambda x: 2 * nn.Linear.forward(module[1], x)  # type: ignore[index, operator]
    return module


def twice(module: nn.Module) -> nn.Module:
    hidden = nn.Linear(6, 6)
    layers = OrderedDict(f=nn.Flatten(), a=hidden, r=nn.ReLU(), b=hidden, s=nn.ReLU(), c=nn.Linear(6, L))
    return nn.Sequential(layers)


class Louder(nn.Linear):
    def forward(self, given: Tensor) -> Tensor:
        return 2 * super().forward(given)


OTHERS = {
    "frozen": frozen(mlp(1)),
    "hooked": hooked(mlp(1)),
    "another forward": louder(mlp(1)),
    "a layer twice": twice(mlp(1)),
    "no bias": nn.Sequential(nn.Flatten(), nn.Linear(6, L, bias=False)),
    "another activation": nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, L)),
    "a subclass": nn.Sequential(nn.Flatten(), Louder(6, L)),
    "ReLU at the end": nn.Sequential(nn.Flatten(), nn.Linear(6, L), nn.ReLU()),
    "flattened in part": nn.Sequential(nn.Flatten(2), nn.Linear(6, L)),
    "no flattening": nn.Sequential(nn.Linear(6, L)),
}


@pytest.mark.parametrize("module", OTHERS.values(), ids=OTHERS)
def test_other_networks_are_left_to_autograd(module: nn.Module) -> None:
    assert matched(Perceptron, module) is None


def test_a_copy_of_the_network_is_one() -> None:
    module = copy.deepcopy(mlp(2))
    assert isinstance(matched(Perceptron, module), Perceptron)
    assert matched(Perceptron, module, Layout((), ())) is None
