"""Learning rates over T rounds, written out as lists."""

from __future__ import annotations

import math


def constant(lr: float, rounds: int) -> list[float]:
    """lr."""
    return [lr] * rounds


def exponential(lr: float, rounds: int, decay: float) -> list[float]:
    """lr · decay^t: each round the last one's rate times the decay."""
    rates = [lr]
    while len(rates) < rounds:
        rates.append(rates[-1] * decay)
    return rates


def cosine(lr: float, rounds: int, lr_min: float) -> list[float]:
    """lr_min + ½ (lr − lr_min)(1 + cos(π t / T)): Loshchilov and Hutter, ICLR 2017, equation 5, one cycle."""
    return [lr_min + 0.5 * (lr - lr_min) * (1 + math.cos(math.pi * t / rounds)) for t in range(rounds)]
