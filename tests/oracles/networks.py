"""Small networks with every parameter random, and their gradients by plain backpropagation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Named(nn.Module):
    """Parameters whose names hold "weight" elsewhere than at the end, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(8, 6))
        self.weight_out = nn.Parameter(torch.empty(3, 8))
        self.gain = nn.Parameter(torch.empty(8))
        self.offset = nn.Parameter(torch.empty(3))

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.gain * torch.tanh(x @ self.in_proj_weight.T)
        return hidden @ self.weight_out.T + self.offset


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), (6,)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 2 * 2, 3, bias=False)
        ),
        (2, 6, 6),
    ),
    "groupnorm": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 2 * 2, 3)
        ),
        (2, 4, 4),
    ),
    "named": (Named, (6,)),
}


def random_network(name: str, steps: int = 6, seed: int = 0) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A network in float64 with all its parameters drawn (norm layers, biases), and `steps` mini-batches of 5."""
    rng = torch.Generator().manual_seed(seed)
    build, shape = NETWORKS[name]
    module = build().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    batches = [
        (torch.randn(5, *shape, generator=rng, dtype=torch.float64), torch.randint(3, (5,), generator=rng))
        for _ in range(steps)
    ]
    return module, batches


def gradients(module: nn.Module, weights: list[Tensor], batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    """∇ of the mean cross-entropy at these weights, tensor by tensor; leaves the weights in the module."""
    inputs, labels = batch
    with torch.no_grad():
        for parameter, w in zip(module.parameters(), weights, strict=True):
            parameter.copy_(w)
    module.zero_grad()
    nn.functional.cross_entropy(module(inputs), labels).backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]
