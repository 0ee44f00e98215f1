"""Many small clients: 50 of 1,000 clients, 50 CIFAR-shaped images each in batches of 10, SGD; the paper's CNN and
pfl's, against a hand-written PyTorch loop of the same steps.

The shapes of pfl-research's published CIFAR-10 benchmark (Granqvist et al., NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Iterator

from fedsam.bench import Row
from fedsam.bench.common.rounds import compared, plain
from fedsam.bench.common.work import Work
from fedsam.engine.base import Precision

WORKS = {
    model: Work(model={"name": name}, clients=1000, samples=50, cohort=50, batch=10, lr=0.1)
    for model, name in (("the paper's CNN", "cnn"), ("pfl's CNN", "fedsam.bench.common.pfl_cnn:PflCNN"))
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each model in fp32 and bf16, ours and by hand in turn."""
    for model, work in WORKS.items():
        yield from compared(work, plain(work), PRECISIONS, rounds, versus, label=f"{model}: ")
