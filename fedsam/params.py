"""A module's trainable parameters as one flat vector, and back.

Shapes: P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fedsam.errors import InputError


class Weights(NamedTuple):
    """All numbers of a model that training moves, as one record.

    Args:
        theta_P: its trainable parameters, [P].
        statistics: the running statistics of its batch normalisation, one vector [S]; none without such layers.
    """

    theta_P: Tensor
    statistics: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Where each trainable tensor of a module lies in theta: one after the other, in the order of `named_parameters`.

    Tied parameters are there once, under their first name. A parameter that requires no gradient is a constant of the
    module and not in theta.

    >>> layout = Layout(("weight", "bias"), ((2, 3), (2,)))
    >>> layout.total, {name: tuple(view.shape) for name, view in layout.views(torch.arange(8.0)).items()}
    (8, {'weight': (2, 3), 'bias': (2,)})

    Args:
        names: as `named_parameters` gives them.
        shapes: of these tensors.
        norms: the names of those that belong to normalisation layers.
        last: the names of those of the layer that gives the output, where that was found out.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    norms: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers in each tensor."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def total(self) -> int:
        """P."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """A new vector [P] from tensors by name; differentiable, and names that are not in the layout are left aside.

        Raises:
            InputError: a tensor is missing or has another shape.
        """
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in tensors:
                raise InputError(
                    "", InputError.ABSENT, f"there is no tensor {name!r}, of shape {list(shape)} in this model"
                )
            if tensors[name].shape != shape:
                given = list(tensors[name].shape)
                raise InputError(
                    "", InputError.ABSENT, f"tensor {name!r} has shape {given}, in this model it has {list(shape)}"
                )
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def views(self, theta_P: Tensor) -> dict[str, Tensor]:
        """The tensors by name, as views of theta.

        They are cut by one `torch.split`, whose backward is one concatenation; the backward of a slice would be a
        zero-padded copy of all of theta, once for each tensor.
        """
        pieces = torch.split(theta_P, self.sizes)
        return {name: piece.view(shape) for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)}

    def mask(self, chosen: Callable[[str], bool]) -> Tensor:
        """Where in theta the tensors lie whose name is `chosen`, bool [P]."""
        return torch.tensor([chosen(name) for name in self.names]).repeat_interleave(torch.tensor(self.sizes))

    def owners(self, device: torch.device | str = "cpu") -> Tensor:
        """Of each number in theta, to which tensor it belongs, int64 [P]; made once for each device."""
        device = torch.device(device)
        if device not in self._owners:
            sizes = torch.tensor(self.sizes)
            self._owners[device] = torch.arange(len(self.sizes)).repeat_interleave(sizes).to(device)
        return self._owners[device]

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        """Where in theta the tensors lie whose name contains "weight", bool [P]."""
        return self.where(self._weights, device)

    def where(self, names: Collection[str], device: torch.device | str = "cpu") -> Tensor:
        """Where in theta the tensors of these names lie, bool [P]; made once for each device."""
        place = frozenset(names), torch.device(device)
        if place not in self._masks:
            self._masks[place] = self.mask(place[0].__contains__).to(device)
        return self._masks[place]

    @cached_property
    def _weights(self) -> frozenset[str]:
        return frozenset(name for name in self.names if "weight" in name)

    @cached_property
    def _owners(self) -> dict[torch.device, Tensor]:
        return {}

    @cached_property
    def _masks(self) -> dict[tuple[frozenset[str], torch.device], Tensor]:
        return {}


def layout_of(module: nn.Module) -> Layout:
    """The layout of a module's trainable parameters."""
    trainable = [(name, tuple(tensor.shape)) for name, tensor in module.named_parameters() if tensor.requires_grad]
    names = tuple(name for name, _ in trainable)
    held = {id(tensor) for part in module.modules() if _normalises(part) for tensor in part.parameters(recurse=False)}
    norms = {name for name, tensor in module.named_parameters() if id(tensor) in held}
    return Layout(names, tuple(shape for _, shape in trainable), tuple(name for name in names if name in norms))


def _normalises(part: nn.Module) -> bool:
    """Whether it is a normalisation layer: by the word in its class's name, or in that of a class it is made of, as in
    BatchNorm2d, GroupNorm, LayerNorm and RMSNorm, torch's or anybody's.
    """
    return any("norm" in cls.__name__.lower() for cls in type(part).__mro__)


def theta_of(module: nn.Module) -> Tensor:
    """A copy of a module's trainable parameters, [P]."""
    return layout_of(module).flatten(dict(module.named_parameters())).detach()


def named(module: nn.Module, theta_P: Tensor, buffers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A module's whole state by name, with theta in place of its trainable parameters, and these in place of buffers.

    Constants and all other buffers are the module's own, what has several names is there under each of them. All are
    contiguous copies that share no memory, fit for safetensors and for `module.load_state_dict(..., strict=True)`.
    """
    views, held = layout_of(module).views(theta_P), dict(module.named_buffers())
    new = {id(tensor): views[name] for name, tensor in module.named_parameters() if name in views}
    new |= {id(held[name]): tensor for name, tensor in (buffers or {}).items()}
    state = module.state_dict(keep_vars=True)
    return {
        name: new.get(id(tensor), tensor).detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


def weighted_sum(rows_KP: Tensor, weight_K: Tensor) -> Tensor:
    """Σ_k weight_k · row_k, [P]: a new tensor."""
    return rows_KP[0] * weight_K[0] if len(rows_KP) == 1 else torch.mv(rows_KP.T, weight_K)
