"""`python -m tests.support.fake_cuda.count`: rounds of the benchmark's cases, counted, as a table.

The bound of a kernel is the longest of its arithmetic, its traffic with memory and 2 µs; of a round the sum of these,
or 5 µs for each launch if that is more. Real kernels reach 50 to 80 % of the peaks.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from fedsam.bench import cross_device, paper_cnn, resnet
from fedsam.bench.common.work import Work
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.engine.base import Engine, Precision
from fedsam.engine.cohort import Cohort
from fedsam.engine.context import numerics
from fedsam.engine.loop import Loop
from fedsam.federated.round_loop import Simulation
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sgd import SGD
from tests.support.fake_cuda.device import FakeDevice, fake_device

PEAK = {"fp32": 60e12, "tf32": 400e12, "bf16": 790e12}
"""Floating-point operations a second of an H200."""
TRAFFIC, SHORTEST, LAUNCH = 4.3e12, 2e-6, 5e-6
"""Bytes a second; seconds."""

WORKS: dict[str, tuple[Work, bool]] = {
    "paper-cnn": (paper_cnn.WORK, True),
    "cross-device": (cross_device.WORKS["the paper's CNN"], False),
    "resnet": (resnet.WORK, False),
}
OPTIMISERS: dict[str, Callable[[Work], ClientOptimizer]] = {
    "sgd": lambda work: SGD(**work.local),
    "asam": lambda work: ASAM(rho=0.7, eta=0.2, **work.local),
}
WAYS: dict[str, tuple[type[Engine], bool]] = {
    "unfold": (Cohort, True),
    "grouped": (Cohort, False),
    "one by one": (Loop, True),
}


def counted(
    device: FakeDevice, work: str, optimiser: str, precision: Precision, way: str, graphs: bool
) -> dict[str, Any]:
    """The fourth round, when all graphs there are have been captured."""
    what, crop = WORKS[work]
    run = what.run(OPTIMISERS[optimiser](what), precision, CropFlip() if crop else None)
    kind, unfold = WAYS[way]
    engine = kind(precision=precision, device="cuda", graphs=graphs)
    notes = device.notes
    with numerics(precision), closing(Simulation(run.replace(engine=engine))) as simulation:
        if not unfold:
            simulation.context.kernels = (simulation.context.autograd,)
        gc.collect()  # what other ways left is no part of the peak
        for _ in range(3 if graphs else 1):
            simulation.advance()
        notes.begin()
        simulation.advance()
    own = sum(max(SHORTEST, flops / PEAK[precision], moved / TRAFFIC) for flops, moved in notes.each)
    return {
        "waits": sum(notes.waits.values()),
        "copies": sum(notes.copies.values()),
        "kB": round(sum(notes.copied.values()) / 1e3, 1),
        "launches": notes.launches,
        "kernels": notes.kernels,
        "TFLOP": round(notes.flops / 1e12, 2),
        "GB": round(notes.moved / 1e9, 1),
        "peak GB": round(notes.peak / 1e9, 2),
        "bound ms": round(1e3 * max(own, LAUNCH * notes.launches), 1),
    }


def rows() -> Iterator[tuple[str, str, Precision, str, bool]]:
    """What is counted."""
    for work in ("paper-cnn", "cross-device"):
        for optimiser in OPTIMISERS:
            for way in WAYS:
                yield work, optimiser, "fp32", way, False
                yield work, optimiser, "fp32", way, True
    for precision in ("tf32", "bf16"):
        yield "paper-cnn", "asam", precision, "unfold", True  # type: ignore[misc]
        yield "paper-cnn", "asam", precision, "grouped", True  # type: ignore[misc]
    yield "resnet", "sgd", "fp32", "grouped", False


def main(wanted: list[str]) -> None:
    """Print them; with words only those that have all of these."""
    from fedsam.engine.support import cuda_graph
    from tests.support.fake_cuda.rounds import Graph

    cuda_graph.Graphs.__init__.__defaults__ = (Graph,)
    head = ""
    with fake_device() as device:
        Graph.device = device
        for work, optimiser, precision, way, graphs in rows():
            if not set(wanted) <= {work, optimiser, precision, way, "captured" if graphs else "launched"}:
                continue
            found = counted(device, work, optimiser, precision, way, graphs)
            if not head:
                head = f"| round | way | {' | '.join(found)} |"
                print(head, "|" + "---|" * (len(found) + 2), sep="\n")
            name = f"{work}, {optimiser}, {precision}"
            told = " | ".join(map(str, found.values()))
            print(f"| {name} | {way}{', captured' * graphs} | {told} |", flush=True)
    sys.stdout.flush()
    os._exit(0)  # see `process`


if __name__ == "__main__":
    main(sys.argv[1:])
