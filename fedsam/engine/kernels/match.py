"""Which modules are plain convolutional networks, whose gradients are written out, and what their layers are."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from fedsam.params import Layout

PARAMETRIC = (nn.Conv2d, nn.Linear)
CALLED = "forward", "_call_impl", "_conv_forward"
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


@dataclass(frozen=True)
class Layer:
    """A layer with a weight and a bias, and what is computed together with it.

    Args:
        relu: ReLU comes after it.
        kernel: height and width of a convolution's, of stride 1; None = it is a linear layer.
        padding: rows of zeros above and below, columns at the left and the right.
        pool: max pooling 2×2 comes after it, before or after ReLU: max and ReLU commute.
    """

    relu: bool
    kernel: tuple[int, int] | None = None
    padding: tuple[int, int] = (0, 0)
    pool: bool = False


def plain(module: nn.Module, layout: Layout) -> tuple[Layer, ...] | None:
    """Its layers, if it is such a network: convolutions, each perhaps with pooling and ReLU, flatten, linear layers
    with ReLU between them. Their weights and biases lie in turn in the layout.
    """
    if type(module) is not nn.Sequential or not untouched(module):
        return None
    parts = list(_parts(list(module)))
    order = "".join(sign for sign, _ in parts)
    if not re.fullmatch("c+fl+", order) or parts[-1][1] != Layer(relu=False):
        return None
    named = [name for name, layer in module._modules.items() if type(layer) in PARAMETRIC]
    if tuple(f"{name}.{kind}" for name in named for kind in ("weight", "bias")) != layout.names:
        return None  # a parameter is missing, a constant, or in two layers
    return tuple(layer for _, layer in parts if layer is not None)


def _parts(layers: list[nn.Module]) -> Iterator[tuple[str, Layer | None]]:
    """What a sequence of layers consists of: "c" a convolution, "f" flatten, "l" a linear layer, "?" something else."""
    rest = deque(layers)
    while rest:
        layer = rest.popleft()
        after: set[type[nn.Module]] = set()
        while type(layer) in PARAMETRIC and rest and _may_follow(rest[0], layer, after):
            after.add(type(rest.popleft()))
        pool, relu = nn.MaxPool2d in after, nn.ReLU in after
        if type(layer) is nn.Conv2d and _usual(layer):
            kernel, padding = ((int(size[0]), int(size[1])) for size in (layer.kernel_size, layer.padding))
            yield "c", Layer(relu, kernel, padding, pool)
        elif type(layer) is nn.Linear:
            yield "l", Layer(relu)
        elif type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            yield "f", None
        else:
            yield "?", None


def _may_follow(layer: nn.Module, first: nn.Module, after: set[type[nn.Module]]) -> bool:
    """Whether a layer can be computed together with the one that it follows."""
    pools = type(first) is nn.Conv2d and _halves(layer)
    return (type(layer) is nn.ReLU or pools) and type(layer) not in after


def _usual(layer: nn.Conv2d) -> bool:
    once = (1, 1)
    usual = layer.groups == 1 and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)
    two = len(layer.kernel_size) == len(layer.padding) == 2
    return usual and two and layer.stride == once and layer.dilation == once


def _halves(layer: nn.Module) -> bool:
    """Whether it is max pooling 2×2."""
    if type(layer) is not nn.MaxPool2d or layer.ceil_mode or layer.return_indices:
        return False
    sizes = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return [_pair(size) for size in sizes] == [(2, 2), (2, 2), (0, 0), (1, 1)]


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def untouched(module: nn.Module) -> bool:
    """Whether its parts compute what their classes say: they have no hooks, and nobody put another `forward` in one or
    in its class.
    """
    parts = list(module.modules())
    hooked = any(getattr(part, hooks) for part in parts for hooks in HOOKS)
    changed = any(not vars(part).keys().isdisjoint(CALLED) for part in parts)
    theirs = all(type(part).forward.__module__ == type(part).__module__ for part in parts)
    everywhere = _has_any_global_hook()  # type: ignore[no-untyped-call]
    return theirs and not changed and not hooked and not everywhere
