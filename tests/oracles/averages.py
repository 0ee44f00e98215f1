"""Averages of the global models that are served, and never sent to the clients; `thetas[i]` is the model after round i.

EMA:   e ← decay·e + (1 − decay)·θ_i, e = θ_0 at the start.
WiMA:  Caldarola et al., ICCV Workshops 2023 (arXiv 2310.01366): the mean of the last `window` models, of all there are
       as long as there are fewer.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ema(thetas: list[Tensor], decay: float) -> list[Tensor]:
    """What is served after each round; decay 0 is the model itself."""
    e = thetas[0]
    served = []
    for i in range(len(thetas)):
        if i > 0:
            e = decay * e + (1 - decay) * thetas[i]
        served.append(e.clone())
    return served


def wima(thetas: list[Tensor], window: int) -> list[Tensor]:
    """What is served after each round; window 1 is the model itself."""
    served = []
    for i in range(len(thetas)):
        first = max(0, i - window + 1)
        total = torch.zeros_like(thetas[i])
        for j in range(first, i + 1):
            total = total + thetas[j]
        served.append(total / (i + 1 - first))
    return served
