"""ESAM: Du et al., ICLR 2022, with whole tensors drawn as in the authors' code.

ε = ε₁(w, g with zeros in the tensors that are not drawn) / β;  B⁺: the ⌊γ |B|⌋ examples, at least one, with the
largest l_i(w + ε) − l_i(w), and those with as much as the last of them;  the base steps along the mean over B⁺ of
∇l_i(w + ε).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tests.oracles.descent import Descent

Losses = Callable[[list[Tensor]], list[float]]
GradientsOf = Callable[[list[Tensor], list[int]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def sensitive(before: list[float], after: list[float], gamma: float) -> list[int]:
    """B⁺, places in the batch."""
    rises = [b - a for a, b in zip(before, after, strict=True)]
    last = sorted(rises, reverse=True)[max(1, math.floor(gamma * len(rises) + 1e-9)) - 1]
    return [i for i, rise in enumerate(rises) if rise >= last]


def step(
    base: Descent,
    losses: Losses,
    gradients_of: GradientsOf,
    perturb: Perturb,
    drawn: list[bool],
    beta: float,
    gamma: float,
    lr: float,
) -> list[int]:
    """One step of the base from its weights; B⁺."""
    w = base.weights
    everyone = list(range(len(losses(w))))
    g = gradients_of(w, everyone)
    kept = [t if inside else torch.zeros_like(t) for t, inside in zip(g, drawn, strict=True)]
    there = [a + e / beta for a, e in zip(w, perturb(w, kept), strict=True)]
    chosen = sensitive(losses(w), losses(there), gamma)
    base.step(gradients_of(there, chosen), lr)
    return chosen
