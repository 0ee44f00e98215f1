"""Which layer of a network gives its output."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fedsam.models.functional import Network


def last_layer(network: Network, theta_P: Tensor, inputs: Tensor) -> tuple[str, ...]:
    """The names of the trainable parameters of the layer that is called last in evaluation; where none is called, as of
    a module that uses its parameters itself, of the last one that was declared.

    Auxiliary outputs, which are for training, are not called. A weight that is tied has its first name.

    Args:
        theta_P: its parameters.
        inputs: a batch, prepared.
    """
    module, layout, called = network.module, network.layout, list[tuple[str, ...]]()
    names = {id(tensor): name for name, tensor in module.named_parameters()}

    def note(found: tuple[str, ...], *_: Any) -> None:
        called.append(found)

    parts = {id(part): part for part in module.modules()}.values()
    hooks = []
    for part in parts:
        own = tuple(names[id(tensor)] for tensor in part.parameters(recurse=False) if names[id(tensor)] in layout.names)
        if own and not isinstance(part, nn.ParameterList | nn.ParameterDict):
            hooks.append(part.register_forward_hook(partial(note, own)))
    statistics = (network.norms.initial(theta_P),) if network.norms else ()
    try:
        with torch.no_grad():
            network.evaluated(theta_P, inputs, *statistics)
    finally:
        for hook in hooks:
            hook.remove()
    parent = layout.names[-1].rpartition(".")[0]
    declared = tuple(name for name in layout.names if name.rpartition(".")[0] == parent)
    return called[-1] if called else declared
