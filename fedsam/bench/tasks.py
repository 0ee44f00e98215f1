"""Rounds of the tasks beside classification: five clients each, by the loop engine, against the same steps written by
hand in PyTorch: `torch.optim.SGD` or `AdamW`, and the sharpness-aware ones on the parameters in place.

- a U-Net on images of 64 x 64 pixels with masks;
- a transformer of four blocks on texts of 128 characters;
- a small vision transformer, of which low-rank updates are trained;
- a multi-layer perceptron on a table.

`limit_ratio` is over the loop by hand; SAM over AdamW notes its time over AdamW.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import Row, alternate, wait_for
from fedsam.bench.common.by_hand import Ascent, asam, sam
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation
from fedsam.run import Run

Optimizer = Callable[..., torch.optim.Optimizer]
COHORT, LR = 5, 0.01
ROUND: dict[str, Any] = {"cohort": COHORT, "rounds": 1, "engine.name": "loop", "client.epochs": 1, "client.lr": LR}
CASES: dict[str, dict[str, Any]] = {
    "U-Net": {
        **{"data.name": "shapes", "data.size": 64, "data.clients": 40, "data.partition": "iid"},
        **{"model.name": "unet", "client.batch_size": 10},
    },
    "transformer": {
        **{"data.name": "pydoc", "data.length": 128, "data.clients": 200, "data.partition": "iid"},
        **{"model.name": "transformer", "model.depth": 4, "client.batch_size": 16},
    },
    "LoRA on a ViT": {
        **{"data.name": "synthetic", "data.size": 32, "data.channels": 3, "data.clients": 10},
        **{"data.samples_per_client": 64, "client.batch_size": 16},
        **{"model.name": "torchvision.models.vision_transformer:VisionTransformer", "model.image_size": 32},
        **{"model.patch_size": 4, "model.num_layers": 4, "model.num_heads": 4, "model.hidden_dim": 128},
        **{"model.mlp_dim": 256, "model.adapter": "lora"},
    },
    "MLP on a table": {
        **{"data.name": "diabetes", "data.clients": 10, "data.partition": "iid", "model.name": "mlp"},
        **{"client.batch_size": 10},
    },
}
METHODS: dict[str, tuple[dict[str, Any], Ascent | None, Optimizer]] = {
    "sgd": ({"client.name": "sgd"}, None, torch.optim.SGD),
    "asam": ({"client.name": "asam", "client.rho": 0.7}, asam, torch.optim.SGD),
    "adamw": ({"client.name": "adamw", "client.weight_decay": 0.01}, None, torch.optim.AdamW),
    "sam over adamw": (
        {"client.name": "sam", "client.rho": 0.1, "client.base": "adamw", "client.weight_decay": 0.01},
        sam,
        torch.optim.AdamW,
    ),
}


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each task with each method, ours and by hand in turn."""
    for case, keys in CASES.items():
        with numerics("fp32"), ExitStack() as stack:
            parts: dict[str, Callable[[], object]] = {}
            for method, (client, ascent, optimizer) in METHODS.items():
                run = Run.from_keys({**ROUND, **keys, **client})
                simulation = stack.enter_context(closing(Simulation(run)))
                parts[method] = Ours(simulation).train
                parts[f"{method} by hand"] = ByHand(simulation, ascent, optimizer).train
            seconds = alternate(parts, rounds, wait_for(simulation.context.device))
        middle = {name: median(times) for name, times in seconds.items()}
        for name, times in seconds.items():
            hand = name if name.endswith("by hand") else f"{name} by hand"
            note = f"{middle[name] / middle['adamw']:.2f} x adamw" if name == "sam over adamw" else ""
            yield Row(
                f"{case}: {name}", "none" if hand == name else "loop", "fp32", times, middle[name] / middle[hand], note
            )


class Ours:
    """The clients of a run's first round, trained again and again from the initial weights."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.order = simulation.order(simulation.clock(), LR)

    def train(self) -> list[Tensor]:
        """Their updates, [P] each."""
        trained = self.simulation.trainer.train(self.simulation.theta_P, self.order)
        return [row for block in trained for row in block.update_JP]


class ByHand:
    """The same clients' steps on the same batches.

    Args:
        simulation: gives the module, the batches and how stored inputs are prepared.
        ascent: of a sharpness-aware step; None = none.
        optimizer: that takes the steps.
    """

    def __init__(
        self, simulation: Simulation, ascent: Ascent | None, optimizer: Callable[..., torch.optim.Optimizer]
    ) -> None:
        context = simulation.context
        order = simulation.order(simulation.clock(), LR)
        split, self.plans = context.plan(simulation.federation, order)
        self.store, self.prepare, self.task = context.store(split), context.prepare, context.task
        self.module: nn.Module = copy.deepcopy(context.module)
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.names, self.weights = [name for name, _ in named], list[Tensor](p for _, p in named)
        self.start = [p.detach().clone() for p in self.weights]
        decay = simulation.run.client.base_optimizer.weight_decay
        self.ascent, self.make = ascent, partial(optimizer, self.weights, lr=LR, weight_decay=decay)

    def train(self) -> list[Tensor]:
        """Their updates, [P] each."""
        return [self._client(plan) for plan in self.plans]

    def _client(self, plan: Any) -> Tensor:
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.start)
        optimizer = self.make()
        for index_B, count in zip(plan.index_TB, plan.count_T, strict=True):
            at = torch.from_numpy(index_B[:count])
            inputs, targets = self.prepare(self.store.inputs[at]), self.store.targets[at]
            gradients = self._gradients(optimizer, inputs, targets)
            if self.ascent is not None:
                with torch.no_grad():
                    steps = self.ascent(self.names, self.weights, gradients)
                    torch._foreach_add_(self.weights, steps)
                self._gradients(optimizer, inputs, targets)
                with torch.no_grad():
                    torch._foreach_sub_(self.weights, steps)
            optimizer.step()
        with torch.no_grad():
            return torch.cat([(p - s).reshape(-1) for p, s in zip(self.weights, self.start, strict=True)])

    def _gradients(self, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        optimizer.zero_grad()
        LOSSES[self.task.name](self.module(inputs), targets).backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in self.weights if p.grad is not None]


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs.view_as(targets), targets.to(outputs.dtype))


def _tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten().long(), ignore_index=-100)


def _pixels(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets.long(), ignore_index=255)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": F.cross_entropy,
    "segmentation": _pixels,
    "sequence": _tokens,
    "regression": _squares,
}
"""As one would write them down, by the task's name."""
