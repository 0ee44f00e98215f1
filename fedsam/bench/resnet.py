"""ResNet-18 with GroupNorm on CIFAR shapes, 10 of 100 clients, SGD; against a hand-written PyTorch loop of the same
steps.

FL-Simulator's setting has 500 images a client, batches of 50 and five epochs; here a GPU takes one epoch, and a CPU one
step of 20 images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from fedsam.bench import Row
from fedsam.bench.common.rounds import compared, plain
from fedsam.bench.common.work import Work
from fedsam.engine.base import Precision

WORK = Work(model={"name": "resnet18"}, clients=100, samples=500, cohort=10, batch=50, lr=0.1, decay=1e-3)
ON_CPU = replace(WORK, samples=20, batch=20)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """In fp32 and bf16, ours and by hand in turn."""
    work = WORK if torch.cuda.is_available() else ON_CPU
    yield from compared(work, plain(work), PRECISIONS, rounds, versus)
