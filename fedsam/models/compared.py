"""A user's module against itself: what is trained here must compute what the module computes in torch.

Shapes: B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedsam.errors import InputError
from fedsam.models.dropout import KeyedDraws
from fedsam.models.functional import Network
from fedsam.models.outputs import outputs_of
from fedsam.params import layout_of, theta_of

CLOSE = 1e-4
"""Difference of outputs that rounding explains, relative to the largest of them."""


class Alone(nn.SyncBatchNorm):
    """Of one process, as `Keyed` has it, also without a GPU."""

    forward = _BatchNorm.forward


def copied(module: nn.Module, name: str) -> nn.Module:
    """A copy that nothing here has touched.

    Raises:
        InputError: there can be none.
    """
    try:
        theirs = copy.deepcopy(module)
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        why = f"cannot be copied ({type(error).__name__}: {first}), but each processor thread needs a copy"
        raise InputError("name", name, f"{why}; keep in it only what copy.deepcopy can copy") from error
    return plain(theirs)


def plain(theirs: nn.Module) -> nn.Module:
    """The module with batch normalisation of one process."""
    for part in theirs.modules():
        if type(part) is nn.SyncBatchNorm:
            part.__class__ = Alone
    return theirs


def compare(module: nn.Module, theirs: nn.Module, name: str, images_BCHW: Tensor, key: Tensor) -> None:
    """Refuse a module whose outputs, in training or in evaluation, are not those of its untouched copy; at weights and
    statistics other than the initial ones, among which there may be zeros that hide a difference.

    Args:
        key: of what both draw in training, [2].

    Raises:
        InputError: they differ by more than rounding.
    """
    network = Network(module, layout_of(module))
    theta_P = theta_of(module)
    theta_P = theta_P + 0.01 * _wave(theta_P)
    statistics = tuple(_moved(network, theta_P))
    load(theirs, network, theta_P, *statistics)
    given_P, norms = theta_P.clone(), network.norms
    with norms.training(statistics[0], None) if norms else nullcontext() as done:
        ours = network.trained(theta_P, images_BCHW, key if network.draws else None)
    with KeyedDraws(key):
        their_outputs = outputs_of(theirs(images_BCHW))
    for place, (one, other) in enumerate(zip(ours, their_outputs, strict=True)):
        _must_agree(one, other, name, f"auxiliary output {place} in training" if place else "output in training")
    if norms is not None and done is not None:
        statistics = (norms.after(done),)
        moved = norms.vector(dict(theirs.named_buffers()), theta_P)
        _must_agree(statistics[0] if norms.total else moved, moved, name, "batch normalisation's statistics")
    evaluated = network.evaluated(theta_P, images_BCHW, *statistics)
    _must_agree(evaluated, outputs_of(theirs.eval()(images_BCHW))[0], name, "output in evaluation")
    if not torch.equal(theta_P, given_P):
        raise InputError("name", name, "its forward pass changes its own parameters, which is not supported")


def load(theirs: nn.Module, network: Network, theta_P: Tensor, *statistics: Tensor) -> None:
    """Put weights and statistics into the untouched module."""
    views = network.layout.views(theta_P)
    buffers = network.norms.buffers(statistics[0]) if network.norms else {}
    with torch.no_grad():
        for path, tensor in [*theirs.named_parameters(), *theirs.named_buffers()]:
            if path in views or path in buffers:
                tensor.copy_(views[path] if path in views else buffers[path])


def gap(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number; 0 where both are not finite in the same places."""
    if torch.equal(ours, theirs):
        return 0.0
    apart = (ours - theirs).abs()
    apart[(ours == theirs) | (ours.isnan() & theirs.isnan())] = 0.0
    size = torch.nan_to_num(theirs, 0.0, 0.0, 0.0).abs().max().clamp(min=1e-12)
    return float(apart.max() / size)


def _must_agree(ours: Tensor, theirs: Tensor, name: str, what: str) -> None:
    if not gap(ours, theirs) <= CLOSE:
        apart = f"is {gap(ours, theirs):.1e} of its size away from that of the module in torch"
        why = "it uses weights past its parameters, or running statistics past torch.nn.BatchNorm's own forward"
        raise InputError("name", name, f"its {what} {apart}: {why}, so another model would be trained")


def _moved(network: Network, theta_P: Tensor) -> Iterator[Tensor]:
    if network.norms is not None:
        buffers = network.norms.buffers(network.norms.initial(theta_P))
        for path, tensor in buffers.items():
            if tensor.is_floating_point():
                buffers[path] = tensor + 0.1 * _wave(tensor) * (1 if path.endswith("mean") else tensor)
        yield network.norms.vector(buffers, theta_P)


def _wave(like: Tensor) -> Tensor:
    return torch.sin(1.0 + torch.arange(like.numel(), dtype=like.dtype)).view(like.shape)
