"""The choice of an engine by a fixed rule, which `fedsam bench engines` confirms by timing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from fedsam.config import Component
from fedsam.data.base import Federation
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.cohort import Cohort
from fedsam.engine.context import RunContext
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.engine.loop import Loop
from fedsam.params import theta_of

PERCEPTRON = 2**22  # parameters of a perceptron whose gradient for a block is written out
OTHER = 2**18  # parameters of other models without convolutions
CONVOLUTIONS = 2**18  # multiplications of a model's convolutions for one image


class Auto(Engine):
    """On a GPU `cohort`. On a CPU `cohort` for models whose kernels are short, and `loop` for the others.

    Short are the kernels of perceptrons of up to 2^22 parameters, of other models without convolutions up to 2^18, and
    of models whose convolutions take up to 2^18 multiplications for an image. The rule looks at device, layers and
    sizes alone, so the same run picks the same engine everywhere; what cannot be trained in blocks goes through `loop`.
    """

    def choose(self, context: RunContext) -> tuple[Engine, str]:
        """The engine, and the part of the rule that decided."""
        settings: dict[str, Any] = {field: getattr(self, field) for field in Engine.model_fields}
        blocks, reason = self._in_blocks(context)
        if not blocks:
            return Loop(**settings), reason
        engine, why = Cohort(**settings).choose(context)
        return engine, reason if isinstance(engine, Cohort) else why

    def _in_blocks(self, context: RunContext) -> tuple[bool, str]:
        if context.device.type != "cpu":
            return True, "on a GPU clients are trained in blocks"
        if context.convolutional:
            size, limit, kind = multiplications(context), CONVOLUTIONS, "models with {} multiplications in convolutions"
        elif any(isinstance(kernel, Perceptron) for kernel in context.kernels) and not attacks(context.optimizer):
            size, limit, kind = context.layout.total, PERCEPTRON, "perceptrons of {} parameters"
        else:
            size, limit, kind = context.layout.total, OTHER, "models without convolutions of {} parameters"
        if size <= limit:
            return True, f"on a CPU {kind.format(f'at most {limit:,}')} are faster in blocks"
        return False, f"on a CPU {kind.format(f'more than {limit:,}')} are faster one client at a time"

    def start(self, context: RunContext, federation: Federation) -> Trainer:
        """Start the chosen engine."""
        return self.choose(context)[0].start(context, federation)


def attacks(part: Component) -> bool:
    """Whether an optimiser, or one that it holds, takes gradients by the images, which only autograd gives."""
    held = (getattr(part, field) for field in type(part).model_fields)
    return "images" in part.requires or any(isinstance(each, Component) and attacks(each) for each in held)


def multiplications(context: RunContext) -> int:
    """Those of a model's convolutions for one image: numbers in each output times those of a kernel, added up."""
    found: list[int] = []

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(output[0].numel() * layer.weight[0].numel())  # type: ignore[index]

    stored = torch.zeros(1, *context.spec.shape, dtype=getattr(torch, context.spec.dtype), device=context.device)
    theta_P = theta_of(context.module)
    hooks = [part.register_forward_hook(count) for part in context.module.modules() if isinstance(part, _ConvNd)]
    try:
        with torch.no_grad():
            context.outputs(context.initial(theta_P), context.prepare(stored))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found)
