"""Outputs in other forms than a tensor: which is the main one, and what auxiliary ones add to the loss."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam import Run
from fedsam.check.command import check
from fedsam.data.plan import ClientPlan
from fedsam.errors import InputError
from fedsam.federated.round_loop import Simulation
from fedsam.models.initialise import initialised
from fedsam.models.outputs import UnreadError, outputs_of
from fedsam.run import digest_of
from tests.conftest import Ragged
from tests.support.discovered import ENGINES

HERE = __name__
A, B, C = torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 5)
Inception = namedtuple("Inception", ["logits", "aux_logits"])


@dataclass
class Record:
    logits: Tensor
    loss: Tensor | None = None


READ: dict[str, tuple[Any, list[Tensor]]] = {
    "a tensor": (A, [A]),
    "torchvision's segmentation": (OrderedDict(out=A, aux=B), [A, B]),
    "the auxiliary one first": ({"aux1": B, "aux2": A, "out": A}, [A, B, A]),
    "a named tuple": (Inception(A, B), [A, B]),
    "a named tuple without its auxiliary output": (Inception(A, None), [A]),
    "a record": (Record(A), [A]),
    "the only tensor": ({"whatever": A, "number": 3}, [A]),
    "a tuple": ((A, B, B), [A, B, B]),
    "a tuple with states": ([A, C, (B, B)], [A]),
}


@pytest.mark.parametrize("case", READ)
def test_the_main_output_is_found_and_the_auxiliary_ones(case: str) -> None:
    given, expected = READ[case]
    found = outputs_of(given)
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_the_outputs_of_transformers_are_read() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    one = outputs.ImageClassifierOutput(loss=B, logits=A, hidden_states=(B,), attentions=(B,))
    assert outputs_of(one) == (A,)
    with pytest.raises(UnreadError, match="BaseModelOutputWithPooling with last_hidden_state, pooler_output"):
        outputs_of(outputs.BaseModelOutputWithPooling(last_hidden_state=A, pooler_output=B))


@pytest.mark.parametrize("given", [None, (), (None, A), [(A, A)], {"a": A, "b": B}, {}, 3.0], ids=str)
def test_what_has_no_main_output_is_not_guessed(given: Any) -> None:
    with pytest.raises(UnreadError):
        outputs_of(given)


class Two(nn.Module):
    """Two heads, as torchvision's segmentation networks have them; one of them in training alone."""

    def __init__(self, classes: int, odd: int = 0) -> None:
        super().__init__()
        self.body, self.norm = nn.Linear(64, 8), nn.BatchNorm1d(8)
        self.out, self.aux = nn.Linear(8, classes), nn.Linear(8, classes + odd)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        hidden = self.norm(self.body(x.flatten(1))).relu()
        found = OrderedDict(out=self.out(hidden))
        if self.training:
            found["aux"] = self.aux(hidden)
        return found


def two(classes: int) -> nn.Module:
    return Two(classes)


def described(**keys: Any) -> Run:
    common: dict[str, Any] = {"data": Ragged(), "model.name": f"{HERE}:two", "client.lr": 0.1, "cohort": 5}
    return Run.from_keys({**common, "rounds": 3, "engine.precision": "fp64", "engine.threads": 1, **keys})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weight", [None, 0.0, 1.5])
def test_the_loss_of_an_auxiliary_output_counts_by_its_weight(engine: str, weight: float | None) -> None:
    own = {} if weight is None else {"task.auxiliary_weight": weight}
    simulation = Simulation(described(**{"engine.name": engine, "client.batch_size": 4, **own}))
    context, theta_P = simulation.context, simulation.theta_P
    order = simulation.order(simulation.clock(), 0.1)
    store, plans = context.plan(simulation.federation, order)
    rows = [
        client
        for block in simulation.trainer.train(theta_P, order)
        for client in zip(block.ids, block.rows, strict=True)
    ]
    plan = min(plans, key=lambda plan: len(plan.count_T))
    expected = _trained(simulation, plan, torch.from_numpy(store.inputs), torch.from_numpy(store.targets), weight)
    found = next(row for client, row in rows if client == plan.client)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def _trained(simulation: Simulation, plan: ClientPlan, inputs: Tensor, targets: Tensor, weight: float | None) -> Tensor:
    """What SGD by hand adds to theta."""
    context, layout = simulation.context, simulation.context.layout
    theta_P = simulation.theta_P.clone()
    for index, count in zip(plan.index_TB, plan.count_T, strict=True):
        leaf, at = theta_P.clone().requires_grad_(), torch.from_numpy(index[:count])
        outputs = torch.func.functional_call(context.module, layout.views(leaf), (context.prepare(inputs[at]),))
        loss = F.cross_entropy(outputs["out"], targets[at])
        loss = loss + (0.4 if weight is None else weight) * F.cross_entropy(outputs["aux"], targets[at])
        theta_P = theta_P - 0.1 * torch.autograd.grad(loss, leaf)[0]
    return theta_P - simulation.theta_P


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_and_an_evaluation_are_those_of_torch(engine: str) -> None:
    found = check(described(**{"engine.name": engine, "client.batch_size": 4}))
    assert [(one.what, one.difference) for one in found.differing] == []


def test_an_auxiliary_output_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match=r"gave an auxiliary output \[2, 4\] of torch.float32 .* must give logits"):
        initialised(lambda: Two(3, odd=1), "two", (8, 8, 1), 3, 0)


def test_the_weight_reaches_the_data_sets_own_task_and_the_digest() -> None:
    changed = described(**{"task.auxiliary_weight": 0.1})
    assert changed.learnt.auxiliary_weight == 0.1
    assert changed.digest() != described().digest()
    keys = {name: value for name, value in Run().keys().items() if not name.startswith("task.")}
    assert Run().digest() == digest_of(keys)
