"""Batch normalisation whose running statistics are handed in and out, as one vector beside theta.

Shapes: B batch, C channels, S numbers of statistics, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

NAME = "batchnorm"
"""Of the statistics among what clients are sent, send and keep."""


@dataclass
class _Pass:
    """A forward pass: the statistics [mean, variance, count] of each layer as it goes on, which samples are valid
    (None = all), whether it normalises by the statistics of the batch, and m where it is not the layers' own.
    """

    statistics: list[list[Tensor]]
    valid_B: Tensor | None
    training: bool
    share: float | None = None


class _Current:
    """The pass in progress, shared by the layers of one module."""

    now: _Pass | None = None


class Norm(nn.Module):
    """Stands for a torch BatchNorm layer, with the same parameters and buffers by the same names.

    y = (x − mean) / √(variance + ε) · γ + β per channel (Ioffe and Szegedy, ICML 2015, algorithms 1 and 2), in training
    by mean and biased variance of the batch's valid samples, in evaluation by the running ones:

        running ← (1 − m) · running + m · (mean, unbiased variance),   m = momentum, or 1 / count where that is None

    As in torch, but where a batch has one value per channel, and torch raises an error, its variance is 0. Nothing is
    written to the buffers.
    """

    def __init__(self, layer: _BatchNorm, current: _Current, place: int | None) -> None:
        super().__init__()
        self.eps, self.momentum, self.place, self.current = layer.eps, layer.momentum, place, current
        self.weight, self.bias = layer.weight, layer.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(layer, name))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same shape."""
        now = self.current.now
        if now is None or now.training:
            return self._train(x, now)
        mean_C, variance_C = (None, None) if self.place is None else now.statistics[self.place][:2]
        by_batch = self.place is None
        return torch.batch_norm(x, self.weight, self.bias, mean_C, variance_C, by_batch, 0.0, self.eps, False)

    def _train(self, x: Tensor, now: _Pass | None) -> Tensor:
        over = [0, *range(2, x.dim())]
        values = x.numel() // x.shape[1]
        mask = None if now is None else now.valid_B
        if mask is None:
            normal = torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)
            if now is None or self.place is None:
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
        if self.place is not None and now is not None:
            self._run(now, mean_C.detach(), square_C.detach() / (number - 1).clamp(min=1))
        return y.to(x.dtype)

    def _run(self, now: _Pass, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.place is not None
        old_mean_C, old_variance_C, count = now.statistics[self.place]
        fixed = self.momentum if now.share is None else now.share
        m = 1 / (count + 1) if fixed is None else fixed
        new_mean_C = old_mean_C + m * (mean_C - old_mean_C)
        now.statistics[self.place] = [new_mean_C, old_variance_C + m * (variance_C - old_variance_C), count + 1]


class BatchNorms:
    """The running statistics of a module's `Norm` layers, as one vector [S]: mean, variance and count of each.

    Args:
        module: with such layers.
    """

    def __init__(self, module: nn.Module) -> None:
        self.names: list[str] = []
        self.layers: list[Norm] = []
        found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, Norm)]
        self._current = found[0][1].current
        # layers were numbered parents first, whatever comes first in the parent
        for name, layer in sorted(found, key=lambda pair: pair[1].place or 0):
            if layer.place is not None:
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
        """Inside, the module normalises by the batch, and what is yielded collects the statistics after it.

        Args:
            statistics_S: before it.
            valid_B: which samples are valid; None = all.
            share: m, instead of the layers' own.
        """
        with self._during(_Pass(self._split(statistics_S), valid_B, True, share)) as now:
            yield now

    @contextmanager
    def evaluation(self, statistics_S: Tensor) -> Iterator[_Pass]:
        """Inside, the module normalises by these statistics."""
        with self._during(_Pass(self._split(statistics_S), None, False)) as now:
            yield now

    @contextmanager
    def _during(self, wanted: _Pass) -> Iterator[_Pass]:
        self._current.now = wanted
        try:
            yield wanted
        finally:
            self._current.now = None

    def after(self, done: _Pass) -> Tensor:
        """The statistics after a pass, [S]."""
        pieces = [part.reshape(-1) for parts in done.statistics for part in parts]
        return torch.cat(pieces).detach() if pieces else torch.zeros(0)

    def whole(self, statistics_S: Tensor) -> Tensor:
        """The same with counts that are whole numbers."""
        parts = self._split(statistics_S)
        return torch.cat([part for mean_C, variance_C, count in parts for part in (mean_C, variance_C, count.round())])

    def buffers(self, statistics_S: Tensor) -> dict[str, Tensor]:
        """The module's buffers by name; counts as int64."""
        found: dict[str, Tensor] = {}
        for name, (mean_C, variance_C, count) in zip(self.names, self._split(statistics_S), strict=True):
            found |= {f"{name}running_mean": mean_C, f"{name}running_var": variance_C}
            found[f"{name}num_batches_tracked"] = count.round().to(torch.int64)[0]
        return found

    def vector(self, buffers: dict[str, Tensor], like_P: Tensor) -> Tensor:
        """`buffers` undone: [S], with the type and on the device of `like_P`.

        Raises:
            KeyError: one is missing.
        """
        parts = ("running_mean", "running_var", "num_batches_tracked")
        return torch.cat([buffers[f"{name}{part}"].reshape(-1).to(like_P) for name in self.names for part in parts])


def replace_layers(module: nn.Module) -> nn.Module:
    """The module with a `Norm` in place of each BatchNorm layer; a layer that is there twice stays one."""
    current, made, places = _Current(), dict[int, Norm](), 0

    def stand_in(layer: _BatchNorm) -> Norm:
        nonlocal places
        if id(layer) not in made:
            tracked = layer.running_mean is not None
            made[id(layer)] = Norm(layer, current, places if tracked else None)
            places += tracked
        return made[id(layer)]

    if isinstance(module, _BatchNorm):
        return stand_in(module)
    for layer in list(module.modules()):
        for name, child in list(layer._modules.items()):
            if isinstance(child, _BatchNorm):
                setattr(layer, name, stand_in(child))
    return module


def batchnorms_of(module: nn.Module) -> BatchNorms | None:
    """The module's statistics; None if it has no `Norm` layer."""
    return BatchNorms(module) if any(isinstance(layer, Norm) for layer in module.modules()) else None
