"""SWA on the server: Izmailov et al., UAI 2018, algorithm 1, as Caldarola et al., ECCV 2022, run it over rounds.

`before[i]` is the model that round i sends, `after[i]` the one it ends in; rounds count from 0, s is the first of
the averaging, c the length of the cycle.
"""

from __future__ import annotations

import torch
from torch import Tensor


def learning_rate(lr: float, lr_end: float, i: int, s: int, c: int) -> float:
    """lr_i = (1 − t) γ₁ + t γ₂, t = ((i mod c) + 1) / c, for i ≥ s and c > 1."""
    if i < s or c == 1:
        return lr
    t = (1 / c) * ((i % c) + 1)
    return (1 - t) * lr + t * lr_end


def captures(rounds: int, s: int, c: int, capture: str) -> list[int]:
    """The rounds after which a model enters the mean."""
    if capture == "as-released":
        return [i for i in range(rounds) if i > s and (i - s) % c == 0]
    return [i for i in range(rounds) if i >= s and i % c == c - 1]


def as_released(before: list[Tensor], after: list[Tensor], s: int, c: int) -> list[Tensor]:
    """What is evaluated after each round, by the statements of the released code."""
    w_swa, n, evaluated = None, 0, []
    for i in range(len(after)):
        if i == s:
            w_swa = before[i].clone()
        w = after[i]
        if i > s and (i - s) % c == 0:
            assert w_swa is not None
            w_swa = w_swa * (1 - 1 / (n + 1)) + w / (n + 1)
            n += 1
        evaluated.append(w if w_swa is None else w_swa)
    return evaluated


def cycle_end(after: list[Tensor], s: int, c: int) -> list[Tensor]:
    """What is evaluated after each round: the mean of the models captured at the lowest learning rate, once there is
    one.
    """
    kept: list[Tensor] = []
    evaluated = []
    for i in range(len(after)):
        if i >= s and i % c == c - 1:
            kept.append(after[i])
        evaluated.append(torch.stack(kept).mean(0) if kept else after[i])
    return evaluated
