"""Clients side by side in threads: order, shares, errors; and the loop engine on top of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from fedsam.engine.loop import Loop, LoopTrainer
from fedsam.engine.messages import Order
from fedsam.engine.support.threads import Threads
from fedsam.federated.round_loop import Simulation
from fedsam.federated.simulate import simulate
from fedsam.run import Run


@pytest.fixture
def two() -> Iterator[Threads]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    threads = Threads(2)
    yield threads
    threads.close()
    torch.set_num_threads(before)


def test_results_come_in_order_whoever_is_first(two: Threads) -> None:
    def work(n: int) -> int:
        time.sleep(0.02 if n == 0 else 0)
        return n * n

    assert list(two.each(work, range(6))) == [n * n for n in range(6)]


def test_things_are_worked_on_at_once(two: Threads) -> None:
    meet = threading.Barrier(2, timeout=10)
    assert list(two.each(lambda _: meet.wait() >= 0, range(4))) == [True] * 4


@pytest.mark.parametrize("things", range(6))
def test_threads_are_shared_out_by_place_alone(two: Threads, things: int) -> None:
    shares = list(two.each(lambda _: torch.get_num_threads(), range(things)))
    assert shares == [1] * (things - things % 2) + [2] * (things % 2)
    assert torch.get_num_threads() == 2


def test_the_rest_has_what_there_is() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    threads = Threads(5)
    try:
        shares = list(threads.each(lambda _: torch.get_num_threads(), range(7)))
    finally:
        threads.close()
        torch.set_num_threads(before)
    assert shares == [1] * 5 + [2, 2]


def test_an_error_comes_in_its_turn_and_the_rest_is_left(two: Threads) -> None:
    done = []

    def work(n: int) -> int:
        if n == 1:
            raise ValueError("one")
        done.append(n)
        return n

    results = two.each(work, range(40))
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
    assert torch.get_num_threads() == 2
    assert len(done) < 10
    assert list(two.each(lambda n: n, range(3))) == [0, 1, 2]


def test_the_caller_leaves_the_processor_to_them(two: Threads) -> None:
    assert [torch.get_num_threads() for _ in two.each(lambda n: n, range(4))] == [1] * 4


def test_one_thread_works_in_the_callers() -> None:
    threads = Threads(1)
    here = threading.get_ident()
    assert list(threads.each(lambda _: threading.get_ident(), range(3))) == [here] * 3


CNN = {
    "data.size": 16,
    "data.name": "fedsam.bench.common.work:Noise",
    "data.samples": 12,
    "data.clients": 5,
    "model.name": "cnn",
    "client.name": "sam",
    "client.batch_size": 4,
    "client.epochs": 1,
    "cohort": 4,
    "rounds": 2,
    "engine.name": "loop",
}


def test_same_bits_in_one_thread_and_in_two() -> None:
    one, two = (simulate(Run.from_keys({**CNN, "engine.threads": n})).digest for n in (1, 2))
    assert one == two


def test_each_thread_has_a_module_of_its_own() -> None:
    simulation = Simulation(Run.from_keys({**CNN, "engine.threads": 2}))
    seen: dict[int, set[int]] = {}
    meet = threading.Barrier(2, timeout=10)
    trainer = simulation.trainer
    assert isinstance(trainer, LoopTrainer)
    assert isinstance(simulation.engine, Loop)
    whole = trainer.one

    def one(*given: object) -> object:
        meet.wait()
        seen.setdefault(threading.get_ident(), set()).add(id(trainer._context().module))
        return whole(*given)  # type: ignore[arg-type]

    trainer.one = one  # type: ignore[method-assign, assignment]
    order: Order = simulation.order(simulation.clock(), 0.1)
    blocks = list(trainer.train(simulation.theta_P, order))
    simulation.close()
    assert [block.ids for block in blocks] == [[client] for client in order.ids]
    assert len(seen) == 2
    assert len(set.union(*seen.values())) == 2
