"""One local step here and in plain torch, on the same module as its maker returned it, the same weights and batch.

Shapes: B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from fedsam.algorithm.client_hooks import State
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find
from fedsam.data.plan import ClientPlan
from fedsam.engine.blocks import Two, train_block
from fedsam.engine.cohort import Cohort
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.loop import steps_of, train_one
from fedsam.engine.messages import Order
from fedsam.engine.train_client import TrainedClient
from fedsam.federated.round_loop import Simulation
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.models.compared import gap, load, plain
from fedsam.models.dropout import KeyedDraws
from fedsam.models.initialise import Form, prepared
from fedsam.models.outputs import outputs_of
from fedsam.optim.sgd import SGD
from fedsam.params import Weights, theta_of

ALLOWED = {"fp64": 1e-9, "fp32": 1e-3, "tf32": 2e-2, "bf16": 1e-1}
"""Differences, relative to the size of what is compared, that rounding explains."""


@dataclass(frozen=True)
class Comparison:
    """Something computed here and in torch, or in a block and alone.

    Args:
        what: it is.
        difference: relative to its size.
        allowed: what rounding explains.
        beside: what it was compared with.
    """

    what: str
    difference: float
    allowed: float
    beside: str = "torch"

    @property
    def equal(self) -> bool:
        """Whether rounding explains it."""
        return self.difference <= self.allowed

    def told(self) -> str:
        """In words."""
        words = "equals" if self.equal else "DIFFERS FROM"
        return f"{words} {self.beside} (relative difference {self.difference:.1e}, rounding {self.allowed:.0e})"


def compared(simulation: Simulation) -> list[Comparison]:
    """A step of plain SGD on the first batch of the largest client of the first round, with the run's kernels."""
    context, run = simulation.context, simulation.run
    trainer = getattr(simulation.trainer, "engine", simulation.engine)
    in_blocks = isinstance(trainer, Cohort)
    allowed = ALLOWED[context.precision]
    outputs, spec = context.task.output_shape(context.spec), context.spec
    form = Form.of(spec, outputs)
    theirs = plain(run.model.untouched(spec.shape, spec.classes or outputs[0], run.seed, form))
    theirs = prepared(theirs, context.module).to(context.device, context.dtype)
    step = _Step(context, *_batch(simulation), theirs)
    found = [Comparison("initial weights", gap(simulation.theta_P, theta_of(theirs)), 0.0, "the model built once more")]
    load(theirs, context.network, step.theta_P, *step.statistics)
    loss, theta_P = step.in_torch()
    gradient_P = step.theta_P - theta_P
    statistics = step.statistics
    if context.batchnorms is not None and context.batchnorms.total:
        statistics = (context.batchnorms.vector(dict(theirs.named_buffers()), theta_P),)
    for place, done in step.done(in_blocks):
        ours_P, our_loss = done.theta_P.reshape(-1), done.loss.reshape(())
        found.append(Comparison(f"loss{place}", gap(our_loss, loss), allowed))
        found.append(Comparison(f"gradient{place}", _apart(step.theta_P - ours_P, gradient_P, step.theta_P), allowed))
        if statistics and len(statistics[0]):
            ours_S = done.uploads[BATCHNORM].reshape(-1)
            found.append(Comparison(f"statistics{place}", gap(ours_S, statistics[0]), allowed))
    with torch.no_grad():
        ours_BL = context.outputs(Weights(theta_P, tuple(statistics)), step.inputs)
        found.append(Comparison("evaluation", gap(ours_BL, outputs_of(theirs.eval()(step.inputs))[0]), allowed))
    if in_blocks:
        name = f"client optimiser {run.client.name}"
        found.append(Comparison(name, Two(context).difference(), max(allowed, 0.05), "in a block its steps alone"))
    return found


class _Step:
    """A batch, and plain SGD of learning rate 1 on it."""

    def __init__(
        self, context: RunContext, store: DeviceSplit, plan: ClientPlan, order: Order, theirs: nn.Module
    ) -> None:
        sgd = SGD(lr=1.0, batch_size=context.optimizer.base_optimizer.batch_size)
        self.context = replace(context, optimizer=sgd, strategy=find(Strategy, "fedavg")(), tried={})
        self.store, self.plan, self.theirs = store, plan.first(1), theirs
        self.theta_P = theta_of(context.module).to(context.device, context.dtype)
        self.statistics = (context.batchnorms.initial(self.theta_P),) if context.batchnorms else ()
        sent: State = {BATCHNORM: self.statistics[0]} if self.statistics else {}
        self.order = replace(order, lr=1.0, sent=sent, client_state={}, weight_K=np.ones(1), steps_K=None)
        (step,) = steps_of(self.plan, context.device)
        self.key = step.key
        self.inputs, self.targets = context.batch(*step.of(store), step.draws, block=False)

    def in_torch(self) -> tuple[Tensor, Tensor]:
        """Loss and weights after the step, by torch alone."""
        context, module = self.context, self.theirs
        optimizer = torch.optim.SGD([tensor for tensor in module.parameters() if tensor.requires_grad], lr=1.0)
        narrow = context.precision == "bf16"
        autocast = torch.autocast(context.device.type, dtype=torch.bfloat16) if narrow else nullcontext()
        with autocast, nullcontext() if self.key is None else KeyedDraws(self.key):
            main, *auxiliary = (each.to(context.dtype) for each in outputs_of(module(self.inputs)))
        loss = self._mean(main) + context.task.auxiliary_weight * sum(map(self._mean, auxiliary))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach(), theta_of(module)

    def _mean(self, outputs: Tensor) -> Tensor:
        losses_B, weight = self.context.task.losses(outputs, self.targets)
        return losses_B.sum() / (weight.sum() if isinstance(weight, Tensor) else weight * len(losses_B))

    def done(self, in_blocks: bool) -> Iterator[tuple[str, TrainedClient]]:
        """The step here: of a client alone, and in a block if the run trains in blocks."""
        context = self.context
        yield " alone" if in_blocks else "", train_one(context, self.theta_P, self.store, self.plan, self.order)
        if in_blocks:
            yield " in a block", train_block(context, self.theta_P, self.store, [self.plan], self.order)


def _batch(simulation: Simulation) -> tuple[DeviceSplit, ClientPlan, Order]:
    order = simulation.order(simulation.clock(), 1.0)
    row = int(np.argmax(simulation.trainer.sizes(order.ids)))
    split, (plan,) = simulation.context.plan(simulation.federation, part := order.part([row]))
    return simulation.context.store(split), plan, part


def _apart(ours_P: Tensor, theirs_P: Tensor, theta_P: Tensor) -> float:
    """‖ours − theirs‖ / ‖theirs‖, of differences of weights, which are rounded."""
    floor = torch.finfo(theta_P.dtype).eps * torch.linalg.vector_norm(theta_P)
    return float(torch.linalg.vector_norm(ours_P - theirs_P) / (torch.linalg.vector_norm(theirs_P) + floor))
