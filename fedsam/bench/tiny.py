"""Where overhead is all: an MLP on images as small as the handwritten digits, 50 of 100 clients, one and ten steps of
10, SGD; against a hand-written PyTorch loop of the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fedsam.bench import Row
from fedsam.bench.common.rounds import compared, plain
from fedsam.bench.common.work import Work

WORK = Work(model={"name": "mlp"}, clients=100, cohort=50, batch=10, size=8, channels=1, lr=0.1)
STEPS = (1, 10)


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each number of steps in fp32, ours and by hand in turn."""
    for steps in STEPS:
        work = replace(WORK, samples=steps * WORK.batch)
        label = f"{steps} step{'s' * (steps > 1)}: "
        yield from compared(work, plain(work), ("fp32",), rounds, versus, label=label)
