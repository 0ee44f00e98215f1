"""One description through every engine, and through a stop and a resumption."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import Run, resume, simulate
from fedsam.engine.flower import Flower
from fedsam.errors import Interrupted
from fedsam.runs.result import Result
from tests.support.flower_grid import Nodes
from tests.support.interrupted import StopAt

EVERY_ENGINE = [
    pytest.mark.usefixtures("inside_flower", "collected"),
    pytest.mark.filterwarnings(  # Ray leaves files and processes to the garbage collector
        "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
    ),
]
"""Marks of a module whose runs go through all of them; it imports the two fixtures."""

AT_ONCE: dict[str, Any] = {
    "client.name": "asam",
    "server.name": "scaffold",
    "average.name": "swa",
    "average.cycle": 1,
    "average.start": 0.4,
    "rounds": 3,
    "engine.name": "loop",
    "engine.precision": "fp64",
    "engine.threads": 1,
}
"""A perturbation, control variates and an average over rounds, in float64."""


@pytest.fixture
def collected() -> Iterator[None]:
    """What a test leaves is thrown away before the next one."""
    yield
    gc.collect()


def weights(result: Result) -> Tensor:
    """All numbers of the served model, [P]."""
    return torch.cat([tensor.double().reshape(-1) for tensor in result.state.values()])


def on(engine: str, run: Run, **settings: object) -> Result:
    """A run on an engine with its own settings, at one thread."""
    precision = {"engine.precision": run.engine.precision, "engine.threads": 1}
    keys = {key: value for key, value in run.keys().items() if not key.startswith("engine.")}
    return simulate(Run.from_keys({**keys, **precision, "engine.name": engine, **settings}))


def on_flower(run: Run, clients: int) -> Result:
    """A run over Flower's messages."""
    return simulate(run.replace(engine=Flower(threads=1, precision=run.engine.precision).over(Nodes(clients, 0))))


def stopped_and_resumed(run: Run, out: Path, at: int) -> Result:
    """A run that is stopped after so many rounds, and goes on."""
    listener = StopAt(at)
    with pytest.raises(Interrupted):
        simulate(run.replace(out=str(out)), listener, listener.stop)
    return resume(out)


def same_everywhere(run: Run, clients: int, close: float = 1e-10) -> None:
    """The weights of the loop are those of the cohort, of Ray and of Flower, to rounding; and none of them stands for
    another.
    """
    loop = same_in_process(run, clients, close)
    assert_close(on("ray", run, **{"engine.workers": 2}), loop, close)


def same_in_process(run: Run, clients: int, close: float = 1e-10) -> Result:
    """As `same_everywhere`, without Ray, which takes seconds to start; the result of the loop."""
    loop = on("loop", run)
    for name, other in (("cohort", on("cohort", run, **{"engine.block": 3})), ("flower", on_flower(run, clients))):
        assert other.engine == name
        assert_close(other, loop, close)
    return loop


def assert_close(one: Result, other: Result, close: float = 1e-10) -> None:
    """No weight is further from the other's than that, and no score of the model, relative to its size."""
    assert float((weights(one) - weights(other)).abs().max()) <= close
    for record, wanted in zip(one.metrics, other.metrics, strict=True):
        assert scores(record) == pytest.approx(scores(wanted), rel=100 * close, abs=100 * close)


def scores(record: dict[str, Any]) -> dict[str, Any]:
    """What a record holds of the test sets."""
    return {name: value for name, value in record.items() if name.startswith(("test_", "unseen_"))}
