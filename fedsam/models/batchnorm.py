"""Batch normalisation whose running statistics are handed in and out, as one vector beside theta.

Shapes: B batch, C channels, S numbers of statistics, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.nn.modules.batchnorm import _BatchNorm

NAME = "batchnorm"
"""Of the statistics among what clients are sent, send and keep."""


@dataclass
class _Pass:
    """A forward pass in training: the statistics before it, those [mean, variance, count] of each layer as it goes on,
    which samples are valid (None = all), and m where it is not the layers' own.
    """

    given_S: Tensor
    statistics: list[list[Tensor]]
    valid_B: Tensor | None
    share: float | None = None


class _Current:
    """The pass in progress, shared by the layers of one module."""

    now: _Pass | None = None


class Keyed(_BatchNorm):
    """A torch BatchNorm layer whose running statistics are handed in and out; `keyed` puts it between a layer's class
    and torch's.

    y = (x − mean) / √(variance + ε) · γ + β per channel (Ioffe and Szegedy, ICML 2015, algorithms 1 and 2), in training
    by mean and biased variance of the batch's valid samples, in evaluation by the running ones:

        running ← (1 − m) · running + m · (mean, unbiased variance),   m = momentum, or 1 / count where that is None

    As in torch, but where a batch has one value per channel, and torch raises an error, its variance is 0. Nothing is
    written to the buffers. A layer that was built in evaluation mode normalises by its buffers, which are constants.
    """

    own: ClassVar[type[_BatchNorm]]
    """What the layer's class was before."""
    keyed_current: _Current
    keyed_place: int | None
    """Among the layers with running statistics that move; None = it has none."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _again, (type(self).own,), self.__dict__  # its class has no name by which another process could find it

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same shape."""
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        if x.is_cuda and is_batchedtensor(x):
            # in a block of one client images are channels-last here, and cuDNN's branch asks what vmap cannot answer
            x = x.contiguous()
        if self.training or self.running_mean is None:
            return self._train(x, self.keyed_current.now)
        buffers = self.running_mean, self.running_var
        return torch.batch_norm(x, self.weight, self.bias, *buffers, False, 0.0, self.eps, False)

    def _train(self, x: Tensor, now: _Pass | None) -> Tensor:
        over = [0, *range(2, x.dim())]
        values = x.numel() // x.shape[1]
        mask = None if now is None else now.valid_B
        if mask is None:
            normal = torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)
            if now is None or self.keyed_place is None:
                return normal
            full = x.detach().float() if x.dtype == torch.bfloat16 else x.detach()
            biased_C, mean_C = torch.var_mean(full, over, correction=0)
            variance_C = biased_C * (values / max(values - 1, 1))
            self._run(now, mean_C, variance_C)
            return normal
        shape = [-1, *[1] * (x.dim() - 1)]
        full = x.float() if x.dtype == torch.bfloat16 else x
        kept = mask.view(shape)
        number = mask.sum() * (values // x.shape[0])
        # by selection: what fills a batch up may be infinite, and 0 times that is not a number
        mean_C = torch.where(kept, full, 0.0).sum(over) / number
        each = [1, -1, *[1] * (x.dim() - 2)]
        centred = full - mean_C.view(each)
        square_C = torch.where(kept, centred.square(), 0.0).sum(over)
        gain_C = torch.rsqrt(square_C / number + self.eps)
        if self.weight is not None:
            gain_C = gain_C * self.weight
        y = centred * gain_C.view(each)
        if self.bias is not None:
            y = y + self.bias.view(each)
        if self.keyed_place is not None and now is not None:
            self._run(now, mean_C.detach(), square_C.detach() / (number - 1).clamp(min=1))
        return y.to(x.dtype)

    def _run(self, now: _Pass, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.keyed_place is not None
        old_mean_C, old_variance_C, count = now.statistics[self.keyed_place]
        fixed = self.momentum if now.share is None else now.share
        m = 1 / (count + 1) if fixed is None else fixed
        new_mean_C = old_mean_C + m * (mean_C - old_mean_C)
        now.statistics[self.keyed_place] = [new_mean_C, old_variance_C + m * (variance_C - old_variance_C), count + 1]


class BatchNorms:
    """The running statistics of a module's `Keyed` layers, as one vector [S]: mean, variance and count of each.

    Args:
        module: with such layers.
    """

    def __init__(self, module: nn.Module) -> None:
        self.names: list[str] = []
        self.layers: list[Keyed] = []
        found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, Keyed)]
        self._current = found[0][1].keyed_current
        # layers were numbered parents first, whatever comes first in the parent
        for name, layer in sorted(found, key=lambda pair: pair[1].keyed_place or 0):
            if layer.keyed_place is not None:
                self.names.append(f"{name}." if name else "")
                self.layers.append(layer)
        self._sizes = [size for layer in self.layers for size in (*[len(layer.running_mean)] * 2, 1)]  # type: ignore[arg-type]

    @property
    def total(self) -> int:
        """S."""
        return sum(self._sizes)

    def initial(self, like_P: Tensor) -> Tensor:
        """What the module's buffers hold, [S], with the type and on the device of `like_P`."""
        held: list[Any] = [
            part for layer in self.layers for part in (layer.running_mean, layer.running_var, layer.num_batches_tracked)
        ]
        return torch.cat([part.reshape(-1).to(like_P) for part in held]) if held else like_P.new_zeros(0)

    def _split(self, statistics_S: Tensor) -> list[list[Tensor]]:
        pieces = iter(torch.split(statistics_S, self._sizes))
        return [[next(pieces), next(pieces), next(pieces)] for _ in self.layers]

    @contextmanager
    def training(self, statistics_S: Tensor, valid_B: Tensor | None, share: float | None = None) -> Iterator[_Pass]:
        """Inside, layers in training mode normalise by the batch, and what is yielded collects the statistics after it.

        Args:
            statistics_S: before it.
            valid_B: which samples are valid; None = all.
            share: m, instead of the layers' own.
        """
        self._current.now = _Pass(statistics_S, self._split(statistics_S), valid_B, share)
        try:
            yield self._current.now
        finally:
            self._current.now = None

    def after(self, done: _Pass) -> Tensor:
        """The statistics after a pass, [S]."""
        pieces = [part.reshape(-1) for parts in done.statistics for part in parts]
        return torch.cat(pieces).detach() if pieces else done.given_S

    def whole(self, statistics_S: Tensor) -> Tensor:
        """The same with counts that are whole numbers."""
        parts = [(mean_C, variance_C, count.round()) for mean_C, variance_C, count in self._split(statistics_S)]
        return torch.cat([part for each in parts for part in each]) if parts else statistics_S

    def moments(self, statistics_S: Tensor) -> dict[str, Tensor]:
        """By what a module in evaluation normalises: means and variances by the names of its buffers."""
        found: dict[str, Tensor] = {}
        for name, (mean_C, variance_C, _) in zip(self.names, self._split(statistics_S), strict=True):
            found |= {f"{name}running_mean": mean_C, f"{name}running_var": variance_C}
        return found

    def buffers(self, statistics_S: Tensor) -> dict[str, Tensor]:
        """The module's buffers by name; counts as int64."""
        counts = {
            f"{name}num_batches_tracked": count.round().to(torch.int64)[0]
            for name, (_, _, count) in zip(self.names, self._split(statistics_S), strict=True)
        }
        return self.moments(statistics_S) | counts

    def vector(self, buffers: dict[str, Tensor], like_P: Tensor) -> Tensor:
        """`buffers` undone: [S], with the type and on the device of `like_P`.

        Raises:
            KeyError: one is missing.
        """
        parts = ("running_mean", "running_var", "num_batches_tracked")
        held = [buffers[f"{name}{part}"].reshape(-1).to(like_P) for name in self.names for part in parts]
        return torch.cat(held) if held else like_P.new_zeros(0)


@lru_cache(maxsize=256)
def keyed(cls: Any) -> type[Keyed]:
    """A class of layers with `Keyed` between `cls` and the class of torch that it is or comes from: what a subclass
    adds to torch's `forward`, its attributes and hooks are kept.
    """
    base = next(part for part in cls.__mro__ if part.__module__ == _BatchNorm.__module__)
    about = {"own": cls, "__module__": cls.__module__}
    between = type(cls.__name__, (Keyed, base), about)
    return between if cls is base else type(cls.__name__, (cls, between), about)


def _again(cls: Any) -> Keyed:
    found = keyed(cls)
    return found.__new__(found)


def replace_layers(module: nn.Module) -> nn.Module:
    """The module, each BatchNorm layer of which becomes `Keyed`; the layers stay the objects that they are.

    Running statistics move in layers that have some and are in training mode.
    """
    current, places = _Current(), 0
    for part in list(module.modules()):
        for layer in [part, *part.children()]:  # numbered by their parents
            if isinstance(layer, _BatchNorm) and not isinstance(layer, Keyed):
                own: Any = type(layer)
                moving = layer.training and layer.running_mean is not None
                layer.__class__ = keyed(own)
                vars(layer).update(keyed_current=current, keyed_place=places if moving else None)
                places += moving
    return module


def batchnorms_of(module: nn.Module) -> BatchNorms | None:
    """The module's statistics; None if it has no `Keyed` layer."""
    return BatchNorms(module) if any(isinstance(layer, Keyed) for layer in module.modules()) else None
