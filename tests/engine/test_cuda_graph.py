"""Captured local steps, without a GPU: a stand-in for CUDA graphs does the work again, into the same tensors.

Shapes: P parameters.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run
from fedsam.algorithm.client_hooks import ClientContext
from fedsam.config import names
from fedsam.engine.support import cuda_graph
from fedsam.engine.support.cuda_graph import Captured, Graphs, Work, outline
from fedsam.engine.train_client import LocalState, Step
from fedsam.federated.round_loop import Simulation
from fedsam.optim.base import ClientOptimizer, Oracle, State
from fedsam.optim.sgd import SGD
from tests.support.algorithms import CASES, described
from tests.support.discovered import ENGINES
from tests.support.optimisers import in_a_run
from tests.support.ragged import Ragged
from tests.support.rounds import ROUNDS, Again, assert_same_models, models

OPTIMIZER: Any = ClientOptimizer
LARGE = {"data": Ragged(size=20, channels=3, augment="crop_flip")}


class Refused:
    """A device that cannot."""

    outputs: list[Tensor]

    def __init__(self, work: Work) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    def replay(self) -> None:
        raise AssertionError


class Full(Refused):
    def __init__(self, work: Work) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", [name for name in names(OPTIMIZER) if name not in ("late", "adversarial")])
def test_every_optimiser_comes_to_the_same(optimizer: str, engine: str) -> None:
    parts = in_a_run(optimizer, clip_norm=1.0)
    client = parts.pop("client")
    client |= {"persistent": True} if "momentum" in client else {}
    run = described("fedavg", {}, client, engine, cohort=7, **LARGE, **parts)
    graphs, before = Graphs(Again), Again.replays
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count > 0
    assert Again.replays - before > 2 * graphs.count


@pytest.mark.parametrize("case", CASES)
def test_every_strategy_comes_to_the_same(case: str) -> None:
    keys, client, *_ = CASES[case]
    run = described(case, keys, client, "cohort", **{"cohort": 6, "rounds": ROUNDS})
    run = run.replace(engine=run.engine.replace(block=3))
    graphs = Graphs(Again)
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count > 0


@pytest.mark.parametrize("norm", ["average", "local"])
def test_statistics_of_batch_normalisation_come_to_the_same(norm: str) -> None:
    run = described("fedavg", {"batchnorm": norm}, {"name": "sam"}, "cohort", model="tests.support.normalised:net")
    graphs = Graphs(Again)
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count > 0


def test_a_block_that_is_kept_is_not_overwritten_by_the_next() -> None:
    """The server takes the median of all updates once all blocks are there."""
    client = {"name": "sgd", "momentum": 0.9, "persistent": True}
    run = described("fedavg", {}, client, "cohort", cohort=7)
    run = run.replace(engine=run.engine.replace(block=2), server={"name": "tests.support.algorithms:Median"})
    assert_same_models(models(run), models(run, Graphs(Again)))


def test_what_clients_keep_is_not_overwritten_by_the_next() -> None:
    run = described("scaffold", {}, {"name": "sgd", "momentum": 0.9, "persistent": True}, "loop", cohort=7)
    found = []
    for graphs in (None, Graphs(Again)):
        simulation = Simulation(run)
        simulation.trainer.graphs = graphs  # type: ignore[attr-defined]
        for _ in range(3):
            simulation.advance()
        order = simulation.order(simulation.clock(), 0.05)
        found.append([block.client_state for block in list(simulation.trainer.train(simulation.theta_P, order))])
    for plain, captured in zip(*found, strict=True):
        assert plain.keys() == captured.keys() == {"control", "client momentum"}
        for name, kept_KP in plain.items():
            torch.testing.assert_close(captured[name], kept_KP, rtol=1e-12, atol=1e-14)


def test_a_tensor_written_to_between_calls_is_read_again() -> None:
    def double(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"twice": 2 * inputs["x"], "same": inputs["x"]}

    x = torch.ones(3)
    captured = Captured(double, {"x": x}, Again)
    assert captured({"x": x}, set())["twice"].tolist() == [2.0] * 3
    x += 1
    found = captured({"x": x}, set())
    assert found["twice"].tolist() == [4.0] * 3
    assert found["same"] is x
    assert captured({"x": x * 3}, set())["twice"].tolist() == [12.0] * 3
    assert len(captured.made) == 1


def test_the_clock_is_the_same_after_a_step() -> None:
    simulation = Simulation(described("fedavg", {}, {"name": "sgd"}, "loop"))
    context, order = simulation.context, simulation.order(simulation.clock(), 0.05)
    store, plans = context.plan(simulation.federation, order)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    client = ClientContext(simulation.theta_P, {}, {}, one, 0.05 * one, context.optimizer, context.clock(order))
    step = Step(torch.from_numpy(plans[0].index_TB[0]), float(plans[0].count_T[0]))
    after = Graphs(Again).step(
        context, context.store(store), step, 0, LocalState(simulation.theta_P, {}, client, (), zero, zero)
    )
    assert after.client.clock is client.clock
    assert after.samples == plans[0].count_T[0]


def test_a_step_that_asks_for_its_number_has_a_graph_for_each() -> None:
    same = {"data": Ragged(clients=1), "cohort": 1}  # one client: every step of an epoch has one form
    sam, looksam = Graphs(Again), Graphs(Again)
    models(described("fedavg", {}, {"name": "sam", "batch_size": 1, "epochs": 4}, "cohort", **same), sam)
    models(described("fedavg", {}, {"name": "looksam", "batch_size": 1, "epochs": 4}, "cohort", **same), looksam)
    assert (sam.count, looksam.count) == (1, 4)
    swa = Graphs(Again)  # whose clients' rate falls from step to step
    models(described("fedswa", {}, {"batch_size": 1, "epochs": 4}, "cohort", **same), swa)
    assert swa.count == 4


def test_a_step_that_asks_for_the_round_is_not_captured() -> None:
    run = described("fedavg", {}, {"name": "late", "switch": 2}, "cohort", cohort=7)
    graphs = Graphs(Again)
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count == 0


class ByTheClock(SGD):
    """Takes half of a round's first step once some rounds are over, and looks at the clock before that step alone."""

    rowwise = True

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        late = oracle.t == 0 and oracle.clock.round >= 3
        return super().step(theta_P, state, oracle, lr * 0.5 if late else lr)


def test_one_that_asks_for_the_round_in_some_steps_is_not_captured_in_any() -> None:
    client = {"name": f"{__name__}:ByTheClock", "batch_size": 1, "epochs": 4}
    run = described("fedavg", {}, client, "cohort", cohort=1, data=Ragged(clients=1))
    graphs = Graphs(Again)
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count == 0


@pytest.mark.parametrize("server", ["fedavg", "fedswa"])
def test_no_more_graphs_than_are_to_be_kept_and_none_made_twice(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Work] = []

    class Counted(Again):
        def __init__(self, work: Work) -> None:
            super().__init__(work)
            made.append(work)

    run = described(server, {}, {"batch_size": 2, "epochs": 3}, "loop", cohort=7)
    graphs = Graphs(Counted)
    plain = models(run)
    assert_same_models(plain, models(run, graphs))
    assert graphs.count == len(made) > 1
    monkeypatch.setattr(cuda_graph, "MOST", 1)
    monkeypatch.setattr(cuda_graph, "OFTENER", 10**9)
    few = Graphs(Counted)
    assert_same_models(plain, models(run, few))
    assert few.count == 1
    assert len(made) == graphs.count + 1


def test_a_graph_gives_its_place_to_one_that_comes_much_oftener(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of two shapes, of which one graph may be kept."""
    monkeypatch.setattr(cuda_graph, "MOST", 1)
    simulation = Simulation(described("fedavg", {}, {"name": "sgd"}, "loop"))
    context, order = simulation.context, simulation.order(simulation.clock(), 0.05)
    store, plans = context.plan(simulation.federation, order)
    placed = context.store(store)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    client = ClientContext(simulation.theta_P, {}, {}, one, 0.05 * one, context.optimizer, context.clock(order))
    local, graphs = LocalState(simulation.theta_P, {}, client, (), zero, zero), Graphs(Again)

    def replays(size: int) -> int:
        before = Again.replays
        index = torch.from_numpy(plans[-1].index_TB[0][:size])
        graphs.step(context, placed, Step(index, float(size)), 0, local)
        return Again.replays - before

    assert len(plans[-1].index_TB[0]) >= 3
    assert [replays(2) for _ in range(4)] == [0, 1, 1, 1]  # the first is launched, to see what it asks for
    assert [replays(3) for _ in range(7)] == [0] * 7
    assert [replays(3), replays(2), replays(2), replays(3)] == [1, 0, 0, 1]  # eight are twice four
    assert graphs.count == 1


@pytest.mark.parametrize("model", ["mlp", "tests.support.normalised:net"])
@pytest.mark.parametrize("client", ["sgd", "asam"])
def test_batches_are_filled_up_to_few_shapes_and_nothing_else_changes(model: str, client: str) -> None:
    run = described("fedavg", {}, {"name": client, "batch_size": 6}, "cohort", cohort=7, model=model)
    shapes: list[set[Any]] = []

    def ended(padded: bool) -> Tensor:
        simulation, graphs = Simulation(run), Graphs(Again)
        simulation.trainer.graphs, simulation.trainer.padded = graphs, padded  # type: ignore[attr-defined]
        for _ in range(4):
            simulation.advance()
        shapes.append(set(graphs._asked))
        return simulation.theta_P

    torch.testing.assert_close(ended(True), ended(False), rtol=1e-9, atol=1e-12)
    assert len(shapes[0]) <= 2 < len(shapes[1])  # with clients that have no such step, and without


class Shift(SGD):
    """The heavy ball by the weights of the step before, which the state keeps under another name."""

    rowwise = True

    def init(self, theta_P: Tensor) -> State:
        return {"before": theta_P}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        return theta_P - lr * gradient_P + 0.9 * (theta_P - state["before"]), {"before": theta_P}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_step_moves_to_another_place_is_not_overwritten(engine: str) -> None:
    run = described("fedavg", {}, {"name": f"{__name__}:Shift"}, engine, cohort=7)
    graphs = Graphs(Again)
    assert_same_models(models(run), models(run, graphs))
    assert graphs.count > 0


@pytest.mark.parametrize("server", ["fedavg", "fedswa", "fedmoswa", "scaffold"])
def test_launched_and_captured_steps_have_the_same_bits(server: str) -> None:
    """So that a run goes on to the same bits after a stop, when there are no graphs yet."""
    run = described(server, {}, {"name": "sgd", "momentum": 0.9}, "loop", cohort=7)
    run = run.replace(engine=run.engine.replace(precision="fp32"))
    graphs = Graphs(Again)
    launched, captured = models(run, Graphs(Refused)), models(run, graphs)
    assert graphs.count > 0
    assert all(torch.equal(one, other) for one, other in zip(launched, captured, strict=True))


def test_a_step_is_captured_when_it_comes_a_second_time() -> None:
    run = described("fedavg", {}, {"batch_size": 100, "epochs": 1}, "cohort", cohort=7)  # one step a round
    simulation = Simulation(run)
    simulation.trainer.graphs = graphs = Graphs(Again)  # type: ignore[attr-defined]
    counts = []
    for _ in range(3):
        simulation.advance()
        counts.append(graphs.count)
    assert counts == [0, 1, 1]


def test_graphs_are_freed_when_blocks_are_halved(caplog: pytest.LogCaptureFixture) -> None:
    class SecondFails(Again):
        made = 0

        def __init__(self, work: Work) -> None:
            SecondFails.made += 1
            if SecondFails.made == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(work)

    run = described("fedavg", {}, {"batch_size": 2, "epochs": 3}, "cohort", cohort=7)
    graphs, cleared = Graphs(SecondFails), []
    clear = graphs.clear

    def noted() -> None:
        cleared.append(graphs.count)
        clear()
        assert graphs.count == 0

    graphs.clear = noted  # type: ignore[method-assign]
    assert_same_models(models(run), models(run, graphs))
    assert cleared == [1]
    assert "going on with blocks of" in caplog.text


def test_what_cannot_be_captured_is_launched_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    run = described("fedavg", {}, {"name": "sam"}, "cohort", cohort=7)
    graphs = Graphs(Refused)
    with caplog.at_level(logging.WARNING, logger="fedsam"):
        assert_same_models(models(run), models(run, graphs))
    assert graphs.count == 0
    assert [record.message for record in caplog.records] == [
        "local steps cannot be captured as CUDA graphs and are launched kernel by kernel:"
        " operation not permitted when stream is capturing"
    ]


def test_without_memory_for_graphs_blocks_are_halved(caplog: pytest.LogCaptureFixture) -> None:
    from fedsam.errors import RunError

    run = described("fedavg", {}, {"name": "sam"}, "cohort", cohort=7)
    with caplog.at_level(logging.WARNING, logger="fedsam"), pytest.raises(RunError, match="one client at a time"):
        models(run, Graphs(Full))
    assert "going on with blocks of" in caplog.text


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(InputError, match=r"engine\.graphs.*needs a CUDA device"):
        Simulation(Run(data=Ragged(), engine={"name": "cohort", "device": "cpu", "graphs": True}))  # type: ignore[arg-type]


def test_the_outline_tells_what_needs_another_graph() -> None:
    one, two = torch.zeros(2, 3), torch.zeros(3, 2)
    assert outline({"a": (one, None)}) == outline({"a": (one + 1, None)})
    others = (two, None), (one.double(), None), (one, one), (one, None, one)
    assert all(outline({"a": other}) != outline({"a": (one, None)}) for other in others)
    assert outline({"b": (one, None)}) != outline({"a": (one, None)})
