"""The ways to train a round's clients on a GPU, in turn: one after the other, in a block under `torch.func.vmap`, whose
convolutions are grouped ones, or in a block by unfold and bmm; and each of these launched kernel by kernel or as CUDA
graphs. On a CPU, which has no such graphs, the three ways alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from statistics import median

import torch

from fedsam.bench import Row, alternate, cross_device, paper_cnn, wait_for
from fedsam.bench.common.work import Work
from fedsam.engine.base import Engine, Precision
from fedsam.engine.cohort import Cohort
from fedsam.engine.context import numerics
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions
from fedsam.engine.loop import Loop
from fedsam.federated.round_loop import Simulation
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sgd import SGD

WORKS = {"paper-cnn": paper_cnn.WORK, **cross_device.WORKS}
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Way:
    """An engine, and whether the gradient of a block is written out."""

    engine: type[Engine]
    unfolded: bool = False

    def simulation(self, work: Work, client: ClientOptimizer, precision: Precision, graphs: bool) -> Simulation:
        """The work done so."""
        run = work.run(client, precision)
        found = Simulation(run.replace(engine=self.engine(precision=precision, graphs=graphs)))
        context, cuda = found.context, torch.device("cuda")
        kernel = Im2ColConvolutions.match(context.network, cuda, precision) if self.unfolded else None
        context.kernels = (context.autograd,) if kernel is None else (kernel, context.autograd)
        return found


WAYS = {"one by one": Way(Loop), "vmap": Way(Cohort), "unfold and bmm": Way(Cohort, unfolded=True)}


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Every way; the limit is the fastest of them."""
    cuda = torch.cuda.is_available()
    for (label, work), precision in product(WORKS.items(), PRECISIONS if cuda else PRECISIONS[:1]):
        for client in (SGD(**work.local), ASAM(rho=0.7, eta=0.2, **work.local)):
            yield from _compared(f"{label}: {client.name}", work, client, precision, (False, True)[: 1 + cuda], rounds)


def _compared(
    label: str, work: Work, client: ClientOptimizer, precision: Precision, graphs: tuple[bool, ...], rounds: int
) -> Iterator[Row]:
    with numerics(precision), ExitStack() as stack:
        simulations = {
            (name, captured): stack.enter_context(closing(way.simulation(work, client, precision, captured)))
            for (name, way), captured in product(WAYS.items(), graphs)
        }
        for simulation in simulations.values():  # a step is captured when it comes a second time
            simulation.advance()
        wait = wait_for(next(iter(simulations.values())).context.device)
        seconds = alternate({str(key): simulation.advance for key, simulation in simulations.items()}, rounds, wait)
    least = min(median(times) for times in seconds.values())
    for (name, captured), simulation in simulations.items():
        times = seconds[str((name, captured))]
        variant = f"{label}, {name}{', captured' * captured}"
        yield Row(variant, simulation.engine.name, precision, times, median(times) / least)
