"""The training of one client, written once: every engine calls `train_client`. Also of a block of clients, row by row.

Shapes: P parameters, B batch, K clients of a block, S statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext, State
from fedsam.attack.base import Attack
from fedsam.data.images.normalise import Normalise
from fedsam.engine.context import KEPT, DeviceSplit, RunContext
from fedsam.engine.kernels.base import Head
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.models.dropout import KeyedDraws
from fedsam.optim.adversarial import START
from fedsam.params import Layout


@dataclass(frozen=True)
class Step:
    """One local step; of a block of clients with one more dimension, the first, everywhere.

    Args:
        index_B: the batch, as positions in the store; None where its examples are given.
        count: its valid samples, as a number of the parameters' type (at least 1).
        draws: augmentation draws, [B, ...].
        valid_B: which samples are valid; None = all.
        active: whether the client has this step at all; None = it has. Only in a block whose clients differ.
        examples: the batch's images and labels, where they were gathered beforehand.
        key: of dropout, [2], for a model that has some; the same in each pass over the batch.
    """

    index_B: Tensor | None
    count: Tensor | float
    draws: dict[str, Tensor] = field(default_factory=dict)
    valid_B: Tensor | None = None
    active: Tensor | None = None
    examples: tuple[Tensor, Tensor] | None = None
    key: Tensor | None = None

    def of(self, store: DeviceSplit) -> tuple[Tensor, Tensor]:
        """Its images and labels."""
        if self.examples is not None:
            return self.examples
        return store.inputs[self.index_B], store.targets[self.index_B]


@dataclass(frozen=True)
class LocalState:
    """A client in the middle of its round, or a block of clients.

    Args:
        theta_P: its weights.
        state: of the optimiser.
        client: what it was sent and what it keeps.
        statistics: of batch normalisation, [S], if there are any.
        total: the sum of the losses so far, over samples.
        samples: how many these are.
    """

    theta_P: Tensor
    state: State
    client: ClientContext
    statistics: tuple[Tensor, ...]
    total: Tensor
    samples: Tensor


@dataclass(frozen=True)
class TrainedClient:
    """A client after its round, or a block of clients, with one more dimension, the first, everywhere.

    Args:
        theta_P: its weights, as far as others may see them.
        loss: the mean over the samples it trained on, each at the weights before its step.
        client_state: the vectors it keeps.
        uploads: what it sends beside its update, times p_k where that is to be averaged.
        weight: p_k, if it is on the device already.
    """

    theta_P: Tensor
    loss: Tensor
    client_state: State
    uploads: State
    weight: Tensor | None = None

    def update(self, sent_P: Tensor) -> Tensor:
        """delta = theta_client − theta_sent; here, and nowhere else, is the sign of an update."""
        return self.theta_P - sent_P


class BatchOracle:
    """The gradient of one mini-batch's mean loss, at any point; remembers the loss at the first point it was asked
    for, and the running statistics of batch normalisation after it: in later passes over the same batch, such as SAM's
    second, these stand still. `t` is the number of the local step, from 0. What the strategy adds to a step goes
    through it; `client` is the client's round as far as it has come. `asked` takes note of whether `t` was asked for.
    """

    def __init__(
        self,
        context: RunContext,
        store: DeviceSplit,
        step: Step,
        t: int,
        client: ClientContext,
        statistics: tuple[Tensor, ...] = (),
    ) -> None:
        self.layout: Layout = context.layout
        self.clock, self.client, self.asked, self._t = client.clock, client, False, t
        self.loss: Tensor | None = None
        self.statistics = statistics
        self._context, self._step, block = context, step, client.sent_P.dim() == 2
        self._inputs, targets = context.batch(*step.of(store), step.draws, block)
        self._head = Head(context.task, targets, step.count, step.valid_B, block)

    @property
    def t(self) -> int:
        """Number of the local step."""
        self.asked = True
        return self._t

    def __call__(self, theta_P: Tensor) -> Tensor:
        """∇L_B(theta), [P]."""
        gradient_P, loss, *statistics = self._context.gradient(
            theta_P, self._inputs, self._head, *self.statistics, key=self._step.key
        )
        if self.loss is None:
            self.loss, self.statistics = loss, tuple(statistics)
        return gradient_P

    def change(self, theta_P: Tensor, attack: Attack) -> None:
        """Go on with the images that an attack makes of the batch's at theta; their labels stay."""
        context, start, key = self._context, self._step.draws.get(START), self._step.key

        def gradient(inputs: Tensor) -> Tensor:
            return context.autograd.by_inputs(theta_P, inputs, self._head, *self.statistics, key=key)

        assert isinstance(context.prepare, Normalise)  # whatever attacks says that it needs images
        self._inputs = attack.changed(self._inputs, context.prepare.mean_C, context.prepare.std_C, gradient, start)

    def drawn(self, name: str, share: float) -> Tensor:
        """Where parameters lie whose tensor is drawn, bool [P]."""
        key = self._step.draws[name][..., 0, :].movedim(-1, 0)  # the same for each example of the batch
        chosen = KeyedDraws(key).uniform((len(self.layout.sizes),), torch.float32) < share
        return chosen.index_select(-1, self.layout.owners(chosen.device))

    def select(self, before_P: Tensor, after_P: Tensor, share: float) -> None:
        """Go on with the examples whose loss rises most: those with fewer than ⌊share · count⌋ above them, or one."""
        head, losses = self._head, partial(self._context.autograd.losses, key=self._step.key)
        rise_B = torch.sub(*(losses(at_P, self._inputs, head, *self.statistics) for at_P in (after_P, before_P)))
        if head.valid is not None:
            rise_B = torch.where(head.valid, rise_B, -torch.inf)
        above_B = (rise_B[..., None, :] > rise_B[..., :, None]).sum(dim=-1)
        if isinstance(head.count, Tensor):
            chosen_B = above_B < (head.count * share + 1e-4).floor().clamp(min=1)[..., None]
        else:
            chosen_B = above_B < max(1, int(head.count * share + 1e-4))
        if head.valid is not None:
            chosen_B = chosen_B & head.valid
        self._head = replace(head, valid=chosen_B, count=chosen_B.sum(dim=-1).to(rise_B.dtype))

    def point(self, theta_P: Tensor) -> Tensor:
        """Where a gradient for a step from theta is to be taken, if the optimiser does not perturb."""
        return self._context.strategy.point(theta_P, self.client, self._t)

    def ascent(self, gradient_P: Tensor, theta_P: Tensor) -> Tensor:
        """What a perturbation at theta is to be made of."""
        return self._context.strategy.ascent(gradient_P, theta_P, self.client)

    def perturbed(self, epsilon_P: Tensor, theta_P: Tensor) -> Tensor:
        """Which perturbation is taken at theta."""
        return self._context.strategy.perturbed(epsilon_P, theta_P, self.client)

    def ascended(self, epsilon_P: Tensor) -> None:
        """Tell the strategy of a perturbation."""
        self.client = self._context.strategy.ascended(epsilon_P, self.client)

    def descent(self, gradient_P: Tensor, theta_P: Tensor) -> Tensor:
        """What is to be descended along from theta."""
        return self._context.strategy.descent(gradient_P, theta_P, self.client)


def local_step(
    context: RunContext, store: DeviceSplit, step: Step, t: int, local: LocalState
) -> tuple[LocalState, bool]:
    """One local step of a client or of a block: a pure function.

    Args:
        t: its number, from 0.

    Returns:
        The client after it; and whether what was computed may depend on t.
    """
    client, strategy, optimizer = local.client, context.strategy, context.optimizer
    oracle = BatchOracle(context, store, step, t, client, local.statistics)
    within = optimizer.base_optimizer.local_schedule
    lr = within.rate(strategy.rate(t, client), t, client.steps)
    new_P, new_state = optimizer.step(local.theta_P, local.state, oracle, lr)
    if oracle.loss is None:
        raise TypeError(f"client optimiser {optimizer.name} took a step without asking for a gradient")
    loss, count = oracle.loss * step.count, step.count
    if step.active is not None:  # a client without this step keeps what it had, whatever was computed for it
        kept = partial(_where, step.active)
        new_P = kept(new_P, local.theta_P)
        new_state = {name: kept(new_state[name], local.state[name]) for name in local.state}
        client_state = {name: kept(new, client.state[name]) for name, new in oracle.client.state.items()}
        oracle.client = oracle.client.keep(**client_state)
        oracle.statistics = tuple(map(kept, oracle.statistics, local.statistics))
        loss, count = torch.where(step.active, loss, 0.0), torch.where(step.active, count, 0.0)
    after = LocalState(new_P, new_state, oracle.client, oracle.statistics, local.total + loss, local.samples + count)
    return after, oracle.asked or within.counts_steps or strategy.counts_steps()


def _where(active: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The new one where a client is active, of a block [K]."""
    return torch.where(active.view(active.shape + (1,) * (new.dim() - active.dim())), new, old)


Take = Callable[[RunContext, DeviceSplit, Step, int, LocalState], LocalState]


def launched(context: RunContext, store: DeviceSplit, step: Step, t: int, local: LocalState) -> LocalState:
    """`local_step` as it stands."""
    return local_step(context, store, step, t, local)[0]


def train_client(
    context: RunContext,
    store: DeviceSplit,
    steps: Iterable[Step],
    client: ClientContext,
    weight: Tensor | float,
    take: Take = launched,
) -> TrainedClient:
    """Train one client from the model it was sent: a pure function; or a block of clients, all rows at once.

    Args:
        client: the beginning of its round; of a block everything has a first dimension for its clients, but what was
            sent beside the model.
        weight: p_k, its share of the examples of all clients that were asked.
        take: how a local step is taken.
    """
    optimizer, strategy = context.optimizer, context.strategy
    theta_P = strategy.own(client.sent_P, client.state, context.layout)
    client = strategy.begin(client)
    state = optimizer.init(theta_P) | {name: client.state[KEPT + name] for name in optimizer.kept}
    zero = theta_P.new_zeros(theta_P.shape[:-1])
    local = LocalState(theta_P, state, client, _received(context, client), zero, zero)
    for t, step in enumerate(steps):
        local = take(context, store, step, t, local)
    theta_P, client, statistics = local.theta_P, local.client, local.statistics
    client_state, uploads = strategy.finish(theta_P, client)
    client_state = {**client_state, **{KEPT + name: local.state[name] for name in optimizer.kept}}
    if context.batchnorms and strategy.batchnorm == "local":
        client_state |= {BATCHNORM: statistics[0] - context.batchnorms.initial(theta_P)}
    elif context.batchnorms:
        uploads = {**uploads, BATCHNORM: statistics[0]}
    averaged = {name: weight * uploads[name] for name in (*strategy.averaged, BATCHNORM) if name in uploads}
    share = weight.squeeze(-1) if isinstance(weight, Tensor) else None
    theta_P = strategy.shared(theta_P, client.sent_P, context.layout)
    return TrainedClient(theta_P, local.total / local.samples, client_state, uploads | averaged, share)


def _received(context: RunContext, client: ClientContext) -> tuple[Tensor, ...]:
    """The statistics of batch normalisation with which a client begins: those it was sent, or its own, which are kept
    as the difference from the initial ones because what clients keep begins with zeros.
    """
    if context.batchnorms is None:
        return ()
    if context.strategy.batchnorm == "local":
        return (context.batchnorms.initial(client.sent_P) + client.state[BATCHNORM],)
    statistics_S = client.sent[BATCHNORM]
    return (statistics_S.expand(*client.sent_P.shape[:-1], statistics_S.shape[-1]),)
