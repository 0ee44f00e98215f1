"""Client optimisers on small problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fedsam.config import find
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.lion import Lion
from fedsam.optim.muon import Muon
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.params import Layout, layout_of
from tests.oracles.networks import gradients, random_network
from tests.oracles.points import Points

MUON = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
BASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": (SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
    "clipped": (SGD, {"momentum": 0.5, "weight_decay": 0.3, "clip_norm": 0.4}),
    "adamw": (AdamW, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.2}),
    "adamw-clipped": (AdamW, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-2, "clip_norm": 0.3}),
    "lion": (Lion, {"beta1": 0.8, "beta2": 0.9, "weight_decay": 0.2}),
    "lion-clipped": (Lion, {"beta1": 0.7, "beta2": 0.95, "clip_norm": 0.3}),
    "muon": (Muon, {**MUON, "momentum": 0.7, "nesterov": True, "rest": 0.3, "weight_decay": 0.2}),
    "muon-clipped": (Muon, {**MUON, "momentum": 0.5, "nesterov": False, "rest": 1.5, "clip_norm": 0.3}),
}
TWO = Layout(("fc.weight", "fc.bias"), ((1,), (1,)))


def network_oracle(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Points:
    layout = layout_of(module)

    def gradient(theta_P: Tensor) -> Tensor:
        tensors = [view.clone() for view in layout.views(theta_P).values()]
        return torch.cat([g.reshape(-1) for g in gradients(module, tensors, batch)])

    return Points(gradient, layout)


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


ASCENTS: dict[str, Callable[..., Any]] = {
    "sam": lambda base: SAM(rho=0.3, base=base),
    "asam": lambda base: ASAM(rho=0.4, eta=0.05, base=base),
}


class Batch(Points):
    """The oracle of local step `t`."""

    def __init__(self, gradient: Callable[[Tensor], Tensor], layout: Layout = TWO, t: int = 0) -> None:
        super().__init__(gradient, layout)
        self.t = t


def on(module: nn.Module, batch: tuple[Tensor, Tensor], t: int = 0) -> Batch:
    return Batch(network_oracle(module, batch).gradient, layout_of(module), t)


def walk(opt: ClientOptimizer, dtype: torch.dtype) -> list[Tensor]:
    """The parameters after each of six steps."""
    module, batches = random_network("groupnorm")
    module = module.to(dtype)
    theta_P = flat([p.detach() for p in module.parameters()])
    state, found = opt.init(theta_P), [theta_P]
    for t, (inputs, labels) in enumerate(batches):
        theta_P, state = opt.step(theta_P, state, on(module, (inputs.to(dtype), labels), t), 0.1)
        found.append(theta_P)
    return found


def in_a_run(name: str, **client: Any) -> dict[str, Any]:
    """Parts of a run with a client optimiser of this name: with momentum where its base is SGD, and a model that it
    has a meaning for.

    Args:
        client: further keys of it.
    """
    kind: Any = ClientOptimizer
    with_momentum = {"momentum": 0.9} if find(kind, name)().base_optimizer.name == "sgd" else {}
    model = {"model": {"name": "tests.support.normalised:pooled"}} if name == "samon" else {}
    return {"client": {"name": name, **with_momentum, **client}, **model}


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))
