"""Evaluation of the paper's CNN on 10,000 CIFAR-shaped images; against a hand-written loop over the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import Row, alternate, wait_for
from fedsam.bench.common.by_hand import LAYOUTS, Layout
from fedsam.bench.common.work import MEAN, STD, Work
from fedsam.engine.context import DeviceSplit, numerics
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import BATCH, evaluate
from fedsam.optim.sgd import SGD
from fedsam.params import Weights

IMAGES = 10_000
WORK = Work(clients=10, samples=1)


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Ours, and by hand in each layout, of which the fastest is the limit; a round is one evaluation."""
    work = replace(WORK, samples=IMAGES // WORK.clients)
    with numerics("fp32"):
        simulation = Simulation(work.run(SGD(**work.local), "fp32"))
        context, theta_P = simulation.context, simulation.theta_P
        store = context.store(simulation.federation.examples([])[0])
        parts: dict[str, Callable[[], object]] = {"ours": partial(evaluate, context, Weights(theta_P), store)}
        for layout in LAYOUTS:
            module = layout.module(work.module().to(context.device))
            parts[f"by hand, {layout.name}"] = partial(by_hand, module, layout, store)
        seconds = alternate(parts, rounds, wait_for(context.device))
        simulation.close()
    limit = min(median(times) for name, times in seconds.items() if name != "ours")
    for name, times in seconds.items():
        rate = f"{len(store.targets) / median(times):,.0f} images/s"
        engine = simulation.engine.name if name == "ours" else "none"
        yield Row(name, engine, "fp32", times, median(times) / limit, rate)


@torch.no_grad()
def by_hand(module: nn.Module, layout: Layout, store: DeviceSplit) -> tuple[float, float]:
    """Mean loss and accuracy, as one would write it down."""
    module.eval()
    total = correct = torch.zeros((), device=store.targets.device)
    for images, labels in zip(torch.split(store.inputs, BATCH), torch.split(store.targets, BATCH), strict=True):
        logits = module(layout.of(((images.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)))
        total = total + F.cross_entropy(logits, labels, reduction="sum")
        correct = correct + (logits.argmax(dim=1) == labels).sum()
    return float(total) / len(store.targets), float(correct) / len(store.targets)
