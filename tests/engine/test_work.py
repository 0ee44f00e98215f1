"""How much work a round is, in operations and memory, not in time: what must not grow unnoticed.

Operations are those that Python asks torch for (what they call in turn is not counted), allocations the bytes that they
ask for, whether these are freed again or not.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from torch.profiler import ProfilerActivity, profile

from fedsam.federated.round_loop import Simulation
from fedsam.run import Run
from tests.support.discovered import ENGINES

pytestmark = pytest.mark.filterwarnings("ignore")  # of the profiler, about machines with no GPU
STEPS = 9  # of each client in a round


@dataclass(frozen=True)
class Work:
    """Of one round."""

    operations: int
    allocations: int
    bytes: int


def rounds(number: int = 1, **keys: Any) -> list[Work]:
    """Of each round after the second. Clients have 71 or 72 images each, 4 of them take part."""
    base: dict[str, Any] = {"data.clients": 20, "data.partition": "iid", "client.batch_size": 8, "client.epochs": 1}
    base |= {"cohort": 4, "engine.threads": 1}
    run = Run.from_keys(base | {name.replace("__", "."): value for name, value in keys.items()})
    found = []
    with closing(Simulation(run)) as simulation:
        simulation.advance()
        simulation.advance()
        for _ in range(number):
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
                simulation.advance()
            events = [event for event in seen.events() if event.name.startswith("aten::")]
            top = [event for event in events if not (event.cpu_parent and event.cpu_parent.name.startswith("aten::"))]
            asked = [event.self_cpu_memory_usage for event in seen.events() if event.self_cpu_memory_usage > 0]
            empty = sum(event.name in ("aten::empty", "aten::empty_strided") for event in events)
            found.append(Work(len(top), empty, sum(asked)))
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("client", ["sgd", "asam"])
def test_every_round_is_the_same_work(engine: str, client: str) -> None:
    first, *rest = rounds(3, engine__name=engine, client__name=client)
    assert first.operations > 100
    assert first.bytes > 10**6
    assert rest == [first, first]


def test_a_block_of_more_clients_is_no_more_operations() -> None:
    (four,), (sixteen,) = (rounds(engine__name="cohort", cohort=cohort) for cohort in (4, 16))
    assert four.operations == sixteen.operations
    assert four.allocations == sixteen.allocations
    assert 3.8 < sixteen.bytes / four.bytes < 4.1


def test_operations_of_a_step() -> None:
    (loop,), (cohort,) = (rounds(engine__name=engine) for engine in ("loop", "cohort"))
    assert loop.operations / (4 * STEPS) < 64  # 58 when this was written
    assert cohort.operations / STEPS < 58  # for all four clients together; 53 when this was written


def test_memory_of_a_step() -> None:
    parameters = 4 * 4810
    (loop,) = rounds(engine__name="loop")
    assert loop.bytes / (4 * STEPS) < 5.5 * parameters  # 5.0 when this was written
    (more,) = rounds(engine__name="loop", client__epochs=3)
    per_client = (3 * loop.bytes - more.bytes) / (2 * 4)
    assert per_client < 3.5 * parameters  # beside the steps: the update, its share, and its sum


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("client", "most"), [({"name": "sam"}, 2), ({"name": "asam"}, 2.1), ({"name": "lookbehind", "k": 2}, 4)]
)
def test_sharp_optimisers_in_steps_of_sgd(engine: str, client: dict[str, Any], most: float) -> None:
    """SAM and ASAM take two gradients in a step, Lookbehind k + 1."""
    (sgd,) = rounds(engine__name=engine)
    (other,) = rounds(engine__name=engine, **{f"client__{name}": value for name, value in client.items()})
    assert 1.5 < other.operations / sgd.operations <= most


def test_an_unused_strategy_hook_costs_nothing() -> None:
    (plain,), (prox,) = (rounds(server__name=name, engine__name="cohort") for name in ("fedavg", "fedprox"))
    assert 0 < (prox.operations - plain.operations) / STEPS <= 3  # g + μ (w − w_sent)
