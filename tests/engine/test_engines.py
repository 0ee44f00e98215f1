"""Every engine computes the same thing: float64 agreement on ragged clients, for everything that is discovered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import Run, RunError
from fedsam.config import find, names
from fedsam.data.augment.base import Augment
from fedsam.data.base import Split
from fedsam.data.plan import ClientPlan
from fedsam.engine import client_batch
from fedsam.engine.auto import multiplications
from fedsam.engine.cohort import Cohort, CohortTrainer, block_for, default_block
from fedsam.engine.context import numerics
from fedsam.engine.kernels.cnn_cpu import CPUConvolutions
from fedsam.engine.loop import Loop
from fedsam.federated.round_loop import Simulation
from fedsam.models.base import Model
from fedsam.optim.base import ClientOptimizer, State
from fedsam.optim.sgd import SGD
from tests.support.discovered import ENGINES, OTHERS, SLOWEST
from tests.support.narrow import narrow
from tests.support.optimisers import in_a_run
from tests.support.ragged import Ragged
from tests.support.rounds import assert_same, ragged_run, trained

OPTIMIZERS = names(ClientOptimizer)
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"size": 16, "channels": 3},
    "mobilenet_v2": {"channels": 3},
    "resnet18": {"channels": 3},
    "resnet18_imagenet": {"channels": 3},
    "resnet20": {"channels": 3},
    "resnet34": {"channels": 3},
    "resnet50": {"channels": 3},
    "wide_resnet": {"channels": 3},
}


def plan_round(run: Run) -> tuple[Split, list[ClientPlan]]:
    """The plans of the first round."""
    simulation = Simulation(run)
    return simulation.context.plan(simulation.federation, simulation.order(simulation.clock(), 0.05))


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_engines_agree_for_every_optimizer(optimizer: str, engine: str) -> None:
    parts = in_a_run(optimizer, batch_size=4, epochs=2, weight_decay=0.01, clip_norm=1.0)
    parts["client"] |= {"nesterov": True} if "momentum" in parts["client"] else {}
    assert_same(trained(ragged_run(SLOWEST, **parts)), trained(ragged_run(engine, **parts)))


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("model", [name for name in names(Model) if find(Model, name).requires <= {"images"}])
def test_engines_agree_for_every_model(model: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    changes = {
        "model": model,
        "data": Ragged(**SMALL.get(model, {})),
        "client": {"name": "sam", "batch_size": 4, "epochs": 1},
    }
    if SMALL.get(model) == {"channels": 3}:  # large ones
        changes["data"] = Ragged(clients=4, **SMALL[model])
        changes["cohort"] = 4
    assert_same(trained(ragged_run(SLOWEST, **changes)), trained(ragged_run(engine, **changes)))


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("augment", names(Augment))
def test_engines_agree_for_every_augmentation(augment: str, engine: str) -> None:
    changes = {"data": Ragged(augment=augment, size=20, channels=3)}
    loop, other = trained(ragged_run(SLOWEST, **changes)), trained(ragged_run(engine, **changes))
    assert_same(loop, other)
    if augment != "none":
        plain = trained(ragged_run("loop", data=Ragged(size=20, channels=3)))
        assert any((loop[0][client] - plain[0][client]).norm() > 1e-6 for client in plain[0])


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_block_size_changes_nothing_but_rounding(block: int) -> None:
    client = {"name": "asam", "batch_size": 4, "epochs": 2, "momentum": 0.5}
    assert_same(
        trained(ragged_run("cohort", block=7, client=client)), trained(ragged_run("cohort", block=block, client=client))
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_order_of_clients_changes_nothing_but_rounding(engine: str) -> None:
    run = ragged_run(engine, block=3)
    assert_same(trained(run), trained(run, rows=[6, 0, 3, 5, 1, 4, 2]))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_alone_gets_the_same_update(engine: str) -> None:
    run = ragged_run(engine)
    everyone, alone = trained(run), trained(run, rows=[4])
    assert (everyone[0][4] - alone[0][4]).norm() <= 1e-10 * alone[0][4].norm()


def test_padding_cannot_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ragged_run("cohort", client={"name": "sam", "batch_size": 4, "epochs": 2, "momentum": 0.9})
    clean = trained(run)
    fill = client_batch.filled

    def poison(array_TB: np.ndarray, batch: int) -> np.ndarray:
        full_TB = fill(array_TB, batch).copy()
        full_TB[:, array_TB.shape[1] :] = 0  # another client's example
        return full_TB

    monkeypatch.setattr(client_batch, "filled", poison)
    poisoned = trained(run)
    for client, delta_P in clean[0].items():
        assert torch.equal(delta_P, poisoned[0][client])


def test_padded_samples_inside_a_plan_are_never_valid() -> None:
    _, plans = plan_round(ragged_run("loop"))
    for plan in plans:
        for index_B, count in zip(plan.index_TB, plan.count_T, strict=True):
            assert 1 <= count <= len(index_B)
            assert (index_B[count:] == index_B[0]).all()


class Exploding(SGD):
    """Whoever takes a third step gets NaN."""

    def init(self, theta_P: Tensor) -> State:
        return {"t": torch.zeros_like(theta_P[..., :1])}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        t = state["t"] + 1
        return torch.where(t > 2, torch.nan, theta_P - lr * gradient_P), {"t": t}


@pytest.mark.parametrize("engine", OTHERS)
def test_a_step_that_a_client_lacks_is_masked_by_selection(engine: str) -> None:
    client = Exploding(batch_size=4, epochs=1)
    loop, other = (trained(ragged_run(name, client=client)) for name in (SLOWEST, engine))
    fine = [client for client, delta_P in loop[0].items() if delta_P.isfinite().all()]
    assert 2 <= len(fine) <= 5
    for client in loop[0]:
        assert torch.isfinite(other[0][client]).all() == (client in fine)
        if client in fine:
            assert (loop[0][client] - other[0][client]).norm() <= 1e-10 * loop[0][client].norm()
            assert other[1][client] == pytest.approx(loop[1][client], rel=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lower_precision_stays_near_double(engine: str, precision: str) -> None:
    near, exact = trained(ragged_run(engine, precision=precision)), trained(ragged_run("loop"))
    bound = {"fp32": 1e-4, "bf16": 0.1}[precision]
    for client, delta_P in exact[0].items():
        assert near[0][client].dtype == torch.float32
        difference = (near[0][client].double() - delta_P).norm() / delta_P.norm()
        assert difference <= bound
        assert difference > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_two_runs_give_the_same_bits(engine: str) -> None:
    one, other = trained(ragged_run(engine, precision="fp32")), trained(ragged_run(engine, precision="fp32"))
    assert all(torch.equal(one[0][client], other[0][client]) for client in one[0])


def test_global_random_state_is_left_alone() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    trained(ragged_run("cohort"))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state[1] == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002


def test_out_of_memory_halves_the_block_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = ragged_run("cohort", block=7)
    expected = trained(run)
    whole = CohortTrainer._train_block
    tried = []

    def scarce(self: Any, theta_P: Tensor, store: Any, plans: list[ClientPlan], order: Any) -> Any:
        tried.append(len(plans))
        if len(plans) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, theta_P, store, plans, order)

    monkeypatch.setattr(CohortTrainer, "_train_block", scarce)
    assert_same(expected, trained(run))
    assert tried == [7, 3, 3, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: going on with blocks of 3 clients (engine.block=3 avoids the attempt)"
    ]


def test_out_of_memory_with_one_client_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CohortTrainer, "_train_block", never)
    with pytest.raises(RunError, match=r"client\.batch_size"):
        trained(ragged_run("cohort", block=2))


def test_auto_chooses_by_layers_and_size() -> None:
    def chosen(**changes: Any) -> tuple[str, str]:
        simulation = Simulation(ragged_run("auto", **changes))
        return simulation.engine.name, simulation.reason

    assert chosen()[0] == "cohort"
    name, reason = chosen(model={"name": "cnn", "channels": 16}, data=Ragged(size=20, channels=3))
    assert (name, reason) == (
        "loop",
        "on a CPU models with more than 262,144 multiplications in convolutions are faster one client at a time",
    )
    name, reason = chosen(model={"name": "cnn", "channels": 8}, data=Ragged(size=20, channels=3))
    assert name == "cohort"
    assert "models with at most 262,144 multiplications in convolutions" in reason
    large = {"name": "mlp", "width": 2**12}  # of 278,531 parameters, with the second hidden layer of 17 million
    assert chosen(model=large) == (
        "cohort",
        "on a CPU perceptrons of at most 4,194,304 parameters are faster in blocks",
    )
    assert chosen(model=large | {"depth": 2})[0] == "loop"
    name, reason = chosen(model=large, client={"name": "adversarial", "batch_size": 4})
    assert (name, reason) == (
        "loop",
        "on a CPU models without convolutions of more than 262,144 parameters are faster one client at a time",
    )
    assert chosen(client={"name": "adversarial", "batch_size": 4})[0] == "cohort"


def test_multiplications_are_those_of_the_convolutions() -> None:
    context = Simulation(
        ragged_run("loop", model={"name": "cnn", "channels": 8}, data=Ragged(size=20, channels=3))
    ).context
    assert multiplications(context) == 16**2 * 8 * 75 + 4**2 * 8 * 200
    assert not any(layer._forward_hooks for layer in context.module.modules())
    assert isinstance(context.kernels[0], CPUConvolutions)
    normal = Simulation(ragged_run("loop", model={"name": "resnet8", "norm": "batch"}, data=Ragged(channels=3))).context
    assert multiplications(normal) > 10**5


def test_threads_follow_the_model_and_are_put_back() -> None:
    before = torch.get_num_threads()
    seen = {}
    for width in (8, 2**12):
        with numerics("fp64"):
            Simulation(ragged_run("auto", model={"name": "mlp", "width": width}))
            seen[width] = torch.get_num_threads()
    assert seen == {8: 1, 2**12: before}
    with numerics("fp64"):
        Simulation(ragged_run("loop").replace(engine=Loop(precision="fp64", threads=before + 1)))
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_engine_keys_are_kept_by_auto() -> None:
    simulation = Simulation(ragged_run("auto", block=3))
    assert isinstance(simulation.engine, Cohort)
    assert simulation.engine.block == 3
    assert isinstance(Simulation(ragged_run("loop")).engine, Loop)


def test_default_block_is_bounded() -> None:
    assert default_block(1) == 64
    assert default_block(2**27) == 1
    assert default_block(797_962) == 64
    assert [block_for(parameters, "cpu") for parameters in (1, 2**14, 2**16, 797_962, 2**27)] == [64, 64, 16, 2, 2]
    assert [block_for(parameters, "cuda") for parameters in (1, 2**14, 2**27)] == [64, 64, 1]


def _batches(plan: ClientPlan) -> Iterator[list[int]]:
    for index_B, count in zip(plan.index_TB, plan.count_T, strict=True):
        yield index_B[:count].tolist()


def test_every_epoch_sees_every_example_once() -> None:
    simulation = Simulation(ragged_run("loop", client={"name": "sgd", "batch_size": 4, "epochs": 3}))
    split, plans = simulation.context.plan(simulation.federation, simulation.order(simulation.clock(), 0.05))
    assert isinstance(split, Split)
    _, owned = simulation.federation.examples(range(7))
    for plan in plans:
        seen = [i for batch in _batches(plan) for i in batch]
        per_epoch = len(seen) // 3
        for epoch in range(3):
            assert sorted(seen[epoch * per_epoch : (epoch + 1) * per_epoch]) == owned[plan.client].tolist()
