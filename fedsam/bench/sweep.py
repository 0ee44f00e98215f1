"""What it saves to train settings that differ in numbers as one: 16 radii of SAM on the digits demonstration's shapes,
against the same runs one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from statistics import median

from fedsam.bench import Row, alternate
from fedsam.engine.auto import Auto
from fedsam.engine.context import numerics
from fedsam.engine.multi_run import MultiRun
from fedsam.federated.round_loop import Simulation
from fedsam.optim.sam import SAM
from fedsam.run import Run

SETTINGS = (4, 16, 64)


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """A round of all settings together, as one and in turn; `limit_ratio` is over the runs in turn."""
    for settings in SETTINGS:
        runs = [_run(0.4 * (number + 1) / settings) for number in range(settings)]
        with numerics("fp32"), ExitStack() as stack:
            apart = [stack.enter_context(closing(Simulation(run))) for run in runs]
            joint = MultiRun(settings, apart[0].federation)
            as_one = [stack.enter_context(closing(Simulation(run, joint))) for run in runs]
            threads = stack.enter_context(ThreadPoolExecutor(settings))

            def together(threads: ThreadPoolExecutor = threads, simulations: list[Simulation] = as_one) -> None:
                list(threads.map(Simulation.advance, simulations))

            def in_turn(simulations: list[Simulation] = apart) -> None:
                for simulation in simulations:
                    simulation.advance()

            seconds = alternate({"as one": together, "in turn": in_turn}, rounds)
        ratio = median(seconds["as one"]) / median(seconds["in turn"])
        note = f"{1 / ratio:.1f} x faster"
        yield Row(f"{settings} settings as one", "cohort", "fp32", seconds["as one"], ratio, note)
        yield Row(f"{settings} settings in turn", "cohort", "fp32", seconds["in turn"], 1.0)


def _run(rho: float) -> Run:
    return Run(client=SAM(rho=rho), engine=Auto(threads=1), rounds=10**6)
