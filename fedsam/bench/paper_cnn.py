"""The paper's CNN on CIFAR-10 shapes: 5 of 100 clients, 8 steps of 64, crop and flip; against a hand-written PyTorch
loop of the same steps, timed in alternation.

Peers, which have no SAM and no augmentation, are measured against our SGD on plain images. Caldarola et al., ECCV 2022;
Lookbehind with k = 2 is that of Mordido et al., ICML 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fedsam.bench import Row
from fedsam.bench.common import by_hand
from fedsam.bench.common.rounds import Method, compared, plain
from fedsam.bench.common.work import Work
from fedsam.engine.base import Precision
from fedsam.optim.asam import ASAM
from fedsam.optim.lookbehind import Lookbehind
from fedsam.optim.sam import SAM

WORK = Work(decay=4e-4)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each optimiser in fp32 and bf16, ours and by hand in turn."""
    yield from compared(WORK, methods(WORK), PRECISIONS, rounds, versus, crop=True)


def methods(work: Work) -> dict[str, Method]:
    """The paper's optimisers, each with its default radius, and Lookbehind."""
    sam = SAM(rho=0.1, **work.local)
    return plain(work) | {
        "sam": Method(sam, partial(by_hand.perturbed, ascent=by_hand.sam), 2),
        "asam": Method(ASAM(rho=0.7, eta=0.2, **work.local), partial(by_hand.perturbed, ascent=by_hand.asam), 2),
        "lookbehind k=2": Method(Lookbehind(k=2, ascent=sam), partial(by_hand.lookbehind, ascent=by_hand.sam, k=2), 3),
    }
