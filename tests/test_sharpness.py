"""Identities and limits of SAM and ASAM, beside the agreement with their equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812

from fedsam.config import find, names
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.base import BaseOptimizer, ClientOptimizer, Perturbed
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.params import Layout, layout_of, theta_of

KIND: Any = ClientOptimizer
SHARPNESS_AWARE = [name for name in names(KIND) if issubclass(find(KIND, name), Perturbed)]
BASES: list[BaseOptimizer] = [
    SGD(lr=0.1),
    SGD(lr=0.1, momentum=0.9, weight_decay=0.02),
    SGD(lr=0.1, momentum=0.9, nesterov=True, clip_norm=0.5),
    AdamW(lr=0.01, weight_decay=0.1),
]


class Batch:
    """The gradient oracle of one batch of a network."""

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        self.module, self.inputs, self.targets = module, inputs, targets
        self.layout: Layout = layout_of(module)
        self.asked: list[Tensor] = []

    def loss(self, theta_P: Tensor) -> Tensor:
        logits = functional_call(self.module, self.layout.views(theta_P), (self.inputs,))
        return F.cross_entropy(logits, self.targets)

    def __call__(self, theta_P: Tensor) -> Tensor:
        self.asked.append(theta_P)
        leaf_P = theta_P.detach().clone().requires_grad_()
        return torch.autograd.grad(self.loss(leaf_P), leaf_P)[0]


def network(bias: bool = True, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(6, 9, bias=bias), nn.ReLU(), nn.Linear(9, 7, bias=bias), nn.ReLU(), nn.Linear(7, 4, bias=bias)
    )
    module = module.to(dtype)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=dtype) * 0.5)
    inputs = torch.randn(16, 6, generator=generator, dtype=dtype)
    return Batch(module, inputs, torch.randint(4, (16,), generator=generator))


@pytest.mark.parametrize("name", SHARPNESS_AWARE)
@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rho_zero_is_the_base_bit_for_bit(name: str, base: BaseOptimizer, dtype: torch.dtype) -> None:
    aware = find(KIND, name)(rho=0.0, base=base)
    sharp = find(KIND, name)(rho=0.3, base=base)
    thetas = [theta_of(network(dtype=dtype).module) for _ in range(3)]
    states = [optimizer.init(thetas[0]) for optimizer in (aware, base, sharp)]
    for step in range(5):
        for i, optimizer in enumerate((aware, base, sharp)):
            thetas[i], states[i] = optimizer.step(thetas[i], states[i], network(seed=step, dtype=dtype), 0.1)
        assert torch.equal(thetas[0], thetas[1])
    assert not torch.equal(thetas[1], thetas[2])


def test_sams_perturbation_has_length_rho_over_all_parameters() -> None:
    batch = network()
    theta_P = theta_of(batch.module)
    epsilon_P = SAM(rho=0.3).perturbation(theta_P, batch(theta_P), batch.layout)
    assert float(epsilon_P.norm()) == pytest.approx(0.3, rel=1e-12)
    per_layer = sum(float(view.norm()) for view in batch.layout.views(epsilon_P).values())
    assert per_layer > 0.5  # a sum of per-layer norms would have been 0.3


@pytest.mark.parametrize("scaling", ["weights", "all"])
def test_asams_perturbation_has_length_rho_in_scaled_coordinates(scaling: Any) -> None:
    batch = network()
    theta_P = theta_of(batch.module)
    asam = ASAM(rho=0.3, scaling=scaling, eta=0.05 if scaling == "weights" else None)
    epsilon = batch.layout.views(asam.perturbation(theta_P, batch(theta_P), batch.layout))
    total = torch.zeros((), dtype=torch.float64)
    for name, tensor in batch.layout.views(theta_P).items():
        if scaling == "all":
            scale = tensor.abs()
        else:
            scale = tensor.abs() + 0.05 if name.endswith("weight") else torch.ones_like(tensor)
        total += (epsilon[name] / scale).square().sum()
    assert float(total.sqrt()) == pytest.approx(0.3, rel=1e-12)


def rescaled(batch: Batch, c: float) -> Tensor:
    """The same function with the first layer multiplied by c and the second divided by it."""
    views = {name: tensor.clone() for name, tensor in batch.layout.views(theta_of(batch.module)).items()}
    views["0.weight"] *= c
    views["2.weight"] /= c
    return batch.layout.flatten(views)


@pytest.mark.parametrize("c", [0.1, 0.5, 3.0, 40.0])
def test_asam_with_scaling_all_is_invariant_to_rescaling_and_sam_is_not(c: float) -> None:
    batch = network(bias=False)
    one_P, other_P = theta_of(batch.module), rescaled(batch, c)
    assert float(batch.loss(other_P)) == pytest.approx(float(batch.loss(one_P)), rel=1e-12)

    def risen(optimizer: Perturbed, theta_P: Tensor) -> float:
        return float(batch.loss(theta_P + optimizer.perturbation(theta_P, batch(theta_P), batch.layout)))

    asam, sam = ASAM(rho=0.5, scaling="all"), SAM(rho=0.5)
    assert risen(asam, other_P) == pytest.approx(risen(asam, one_P), rel=1e-10)
    assert risen(asam, one_P) > 1.05 * float(batch.loss(one_P))
    assert abs(risen(sam, other_P) - risen(sam, one_P)) > 0.01 * risen(sam, one_P)
    step_one, _ = asam.step(one_P, {}, batch, 0.0)
    assert torch.equal(step_one, one_P)
    moved = {
        name: tensor.clone()
        for name, tensor in batch.layout.views(asam.perturbation(one_P, batch(one_P), batch.layout)).items()
    }
    moved["0.weight"] *= c
    moved["2.weight"] /= c
    scaled_P = asam.perturbation(other_P, batch(other_P), batch.layout)
    assert torch.allclose(batch.layout.flatten(moved), scaled_P, rtol=1e-9, atol=1e-12)


def test_a_direct_transcription_of_the_equations() -> None:
    """Papers' equations on lists of tensors: g, ε = ρ T² g / ‖T g‖, g' at w + ε, w ← w − lr (g' + λ w)."""
    batch, rho, eta, lr, decay = network(), 0.4, 0.2, 0.1, 0.03
    names_ = batch.layout.names
    for optimizer in (SAM(rho=rho, lr=lr, weight_decay=decay), ASAM(rho=rho, eta=eta, lr=lr, weight_decay=decay)):
        w = [tensor.clone() for tensor in batch.layout.views(theta_of(batch.module)).values()]
        theta_P, state = theta_of(batch.module), optimizer.init(theta_of(batch.module))
        for seed in range(4):
            data = network(seed=seed)

            def gradient(at: list[Tensor], data: Batch = data) -> list[Tensor]:
                leaves = [tensor.detach().clone().requires_grad_() for tensor in at]
                logits = functional_call(data.module, dict(zip(names_, leaves, strict=True)), (data.inputs,))
                return list(torch.autograd.grad(F.cross_entropy(logits, data.targets), leaves))

            g = gradient(w)
            t = [torch.ones_like(x) for x in w]
            if isinstance(optimizer, ASAM):
                t = [
                    x.abs() + eta if "weight" in name else torch.ones_like(x) for name, x in zip(names_, w, strict=True)
                ]
            length = sum(((a * b) ** 2).sum() for a, b in zip(t, g, strict=True)) ** 0.5
            epsilon = [rho * a**2 * b / length for a, b in zip(t, g, strict=True)]
            risen = gradient([x + e for x, e in zip(w, epsilon, strict=True)])
            w = [x - lr * (r + decay * x) for x, r in zip(w, risen, strict=True)]
            theta_P, state = optimizer.step(theta_P, state, data, lr)
            expected_P = torch.cat([x.reshape(-1) for x in w])
            assert (theta_P - expected_P).norm() <= 1e-12 * expected_P.norm()


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_bases_are_torchs(base: BaseOptimizer) -> None:
    batch = network()
    theta_P = theta_of(batch.module)
    leaf_P = theta_P.clone().requires_grad_()
    state = base.init(theta_P)
    theirs: torch.optim.Optimizer
    if isinstance(base, SGD):
        theirs = torch.optim.SGD(
            [leaf_P], lr=0.1, momentum=base.momentum, nesterov=base.nesterov, weight_decay=base.weight_decay
        )
    else:
        theirs = torch.optim.AdamW([leaf_P], lr=0.1, weight_decay=base.weight_decay)
    for seed in range(6):
        data = network(seed=seed)
        leaf_P.grad = data(leaf_P.detach())
        if base.clip_norm is not None:
            assert float(leaf_P.grad.norm()) > base.clip_norm
            leaf_P.grad *= base.clip_norm / leaf_P.grad.norm()
        theirs.step()
        theta_P, state = base.step(theta_P, state, data, 0.1)
        assert (theta_P - leaf_P.detach()).norm() <= 1e-12 * theta_P.norm()


def test_clipping_leaves_short_gradients_alone() -> None:
    gradient_P = torch.tensor([0.3, 0.4], dtype=torch.float64)
    assert torch.equal(SGD(clip_norm=0.6).clipped(gradient_P), gradient_P)
    assert torch.allclose(SGD(clip_norm=0.25).clipped(gradient_P), gradient_P / 2)


@pytest.mark.parametrize("name", names(KIND))
def test_a_step_changes_nothing_that_it_was_given_and_vmaps(name: str) -> None:
    optimizer = find(KIND, name)()
    batch = network()
    theta_KP = torch.stack([theta_of(network(seed=seed).module) for seed in range(3)])
    gradient_KP = torch.randn(3, theta_KP.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Linear:
        """An oracle that vmaps: the gradient of a quadratic around a random point."""

        layout = batch.layout

        def __init__(self, centre_P: Tensor) -> None:
            self.centre_P = centre_P

        def __call__(self, theta_P: Tensor) -> Tensor:
            return theta_P - self.centre_P

    def two_steps(theta_P: Tensor, centre_P: Tensor) -> Tensor:
        state = optimizer.init(theta_P)
        for _ in range(2):
            theta_P, state = optimizer.step(theta_P, state, Linear(centre_P), 0.1)
        return theta_P

    before = theta_KP.clone(), gradient_KP.clone()
    one_by_one = torch.stack(
        [two_steps(theta_P, centre_P) for theta_P, centre_P in zip(theta_KP, gradient_KP, strict=True)]
    )
    together = vmap(two_steps)(theta_KP, gradient_KP)
    assert (one_by_one - together).norm() <= 1e-12 * one_by_one.norm()
    assert torch.equal(before[0], theta_KP)
    assert torch.equal(before[1], gradient_KP)


@pytest.mark.parametrize("name", SHARPNESS_AWARE)
def test_a_zero_gradient_gives_no_nan_and_two_evaluations(name: str) -> None:
    batch = network()
    theta_P = theta_of(batch.module)
    optimizer = find(KIND, name)()
    assert torch.equal(
        optimizer.perturbation(theta_P, torch.zeros_like(theta_P), batch.layout), torch.zeros_like(theta_P)
    )
    optimizer.step(theta_P, optimizer.init(theta_P), batch, 0.1)
    assert len(batch.asked) == 2
    assert torch.equal(batch.asked[0], theta_P)
    assert not torch.equal(batch.asked[1], theta_P)
