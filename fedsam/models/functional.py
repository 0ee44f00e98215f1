"""A module as a function: of theta in place of its trainable parameters, and of the statistics it normalises by.

Shapes: B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from fedsam.models.batchnorm import batchnorms_of
from fedsam.models.dropout import KeyedDraws, attends, draws
from fedsam.models.outputs import outputs_of
from fedsam.params import Layout


class Network:
    """A module that is called without being changed. In training it is as it was built, each layer in its own mode; in
    evaluation all layers are in evaluation mode.

    Args:
        module: with `Keyed` layers in place of batch normalisation.
        layout: of its trainable parameters.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        self.module, self.layout = module, layout
        self.norms, self.draws, self.attends = batchnorms_of(module), draws(module), attends(module)
        self._names, self._held = list(_names(module, layout)), _held(module)
        self._training = training_parts(module)

    def trained(self, theta_P: Tensor, inputs: Tensor, key: Tensor | None = None) -> tuple[Tensor, ...]:
        """The outputs in training, the main one first; see `BatchNorms.training` for what is around a call of a module
        with such layers.

        Args:
            key: of dropout and other draws, [2]; of a module that draws.
        """
        if self.draws and key is None:
            raise TypeError("this module draws random numbers in training, so a key is needed")
        with KeyedDraws(key) if key is not None else nullcontext():
            return outputs_of(self._call(self._tensors(theta_P), inputs))

    def evaluated(self, theta_P: Tensor, inputs: Tensor, *statistics: Tensor) -> Tensor:
        """The main output in evaluation.

        Args:
            statistics: [S], of a model with batch normalisation.
        """
        tensors = self._tensors(theta_P)
        if self.norms is not None:
            tensors |= self.norms.moments(statistics[0])
        with evaluating(self._training):
            return outputs_of(self._call(tensors, inputs))[0]

    def _call(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Any:
        # `torch.func.functional_call` does the same, and takes longer over names than a small model takes to compute
        before = [(*self._held[place], tensor) for place, tensor in tensors.items()]
        kept = [held[name] for held, name, _ in before]
        try:
            for held, name, tensor in before:
                held[name] = tensor
            return self.module(inputs)
        finally:
            for (held, name, _), tensor in zip(before, kept, strict=True):
                held[name] = tensor

    def _tensors(self, theta_P: Tensor) -> dict[str, Tensor]:
        views = self.layout.views(theta_P)
        return {place: views[name] for place, name in self._names}


def _names(module: nn.Module, layout: Layout) -> Iterator[tuple[str, str]]:
    """Each place that holds a trainable parameter, and the parameter's name in the layout: a layer with two names is
    one place, a weight that is tied has several.
    """
    first = {id(tensor): name for name, tensor in module.named_parameters()}
    for path, part in module.named_modules():
        for name, tensor in part.named_parameters(recurse=False, remove_duplicate=False):
            if first[id(tensor)] in layout.names:
                yield f"{path}.{name}" if path else name, first[id(tensor)]


def _held(module: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer is kept: the table of its layer, and its name there."""
    return {
        f"{path}.{name}" if path else name: (table, name)
        for path, part in module.named_modules(remove_duplicate=False)
        for table in (part._parameters, part._buffers)
        for name in table
    }


def training_parts(module: nn.Module) -> list[nn.Module]:
    """The parts of a module that are in training mode, itself included."""
    return [part for part in module.modules() if part.training]


@contextmanager
def evaluating(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, these parts are in evaluation mode, afterwards in training mode. Their own `train` and `eval` methods,
    which may change weights, are not called.
    """
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True
