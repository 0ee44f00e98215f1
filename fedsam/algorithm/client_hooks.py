"""What an algorithm adds to a client's training; the defaults add nothing, as FedAvg's clients.

All functions are pure and written for one client's vectors [P] and for a block's [K, P] alike, a row for each client;
numbers of a client are [K, 1] in a block, and sums over parameters go over the last dimension and keep it.

Shapes: P parameters, K clients of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from fedsam.config import Component, key
from fedsam.params import Layout
from fedsam.schedule.base import Clock

if TYPE_CHECKING:
    from fedsam.optim.base import ClientOptimizer

State = dict[str, Tensor]

LOSS = "loss"
"""Among the `client_numbers` of an algorithm: the client's mean loss at the model that it is sent, on its training
examples, before its round.
"""


@dataclass(frozen=True)
class ClientContext:
    """A client in its round; or a block, whose vectors are [K, P] and whose numbers [K, 1], what was sent apart.

    Args:
        sent_P: the model it was sent.
        sent: what it was sent beside it.
        state: its own vectors [P], kept from its last round; zeros at first.
        steps: K_k, the local steps it takes in this round.
        lr: the clients' learning rate in this round.
        clock: the round.
        optimizer: the client optimiser.
    """

    sent_P: Tensor
    sent: State
    state: State
    steps: Tensor | float
    lr: float | Tensor
    optimizer: ClientOptimizer
    clock: Clock

    def given(self, **sent: Tensor) -> ClientContext:
        """The same with more that was sent, or made of it."""
        return replace(self, sent={**self.sent, **sent})

    def keep(self, **state: Tensor) -> ClientContext:
        """The same with other vectors of its own."""
        return replace(self, state={**self.state, **state})


class ClientHooks(Component):
    """The client's half of an algorithm.

    In each local step, with g the gradient of the mini-batch's mean loss:

        ε = perturbed(perturbation(w, ascent(g(w))))             of a client optimiser that perturbs
        w ← base(w, descent(g(w + ε)))                           or descent(g(point(w))) of one that does not
    """

    batchnorm: Literal["average", "local"] = key(
        "average",
        "running statistics of batch normalisation: averaged as the weights, or kept by each client",
        "as released by Caldarola et al. 2022; local: Andreux et al. 2020",
    )

    HOOKS: ClassVar[tuple[str, ...]] = (
        "begin",
        "point",
        "ascent",
        "perturbed",
        "ascended",
        "descent",
        "rate",
        "finish",
        "own",
        "shared",
    )

    rowwise: ClassVar[bool] = True
    """Has no meaning any more: all code is tried with rows, whatever it says."""

    client_state: ClassVar[tuple[str, ...]] = ()
    """Names of the vectors that a client keeps from round to round."""

    client_numbers: ClassVar[tuple[str, ...]] = ()
    """Names of single numbers, [1], that it keeps beside them, zeros at first."""

    averaged: ClassVar[tuple[str, ...]] = ()
    """Names of uploads of which the server gets the mean over the clients that delivered, Σ p_k x_k / Σ p_k with p_k
    their shares of the examples; of all others it gets the plain sum over them.
    """

    derived: ClassVar[tuple[str, ...]] = ()
    """Names of uploads that a server could make of the client's update itself, and that are no traffic therefore."""

    @classmethod
    def counts_steps(cls) -> bool:
        """Whether what it adds to a step may depend on the step's number."""
        return cls.point is not ClientHooks.point or cls.rate is not ClientHooks.rate

    @property
    def one_vector(self) -> bool:
        """Whether its update is all that a client sends; so it is where it does nothing at the end of its round."""
        return type(self).finish is ClientHooks.finish

    @property
    def personal(self) -> bool:
        """Whether each client has a model of its own, of which a part stays with it."""
        return type(self).own is not ClientHooks.own

    def own(self, theta_P: Tensor, state: State, layout: Layout) -> Tensor:
        """A client's own model, made of the shared one and of what it keeps: the shared one."""
        return theta_P

    def shared(self, theta_P: Tensor, sent_P: Tensor, layout: Layout) -> Tensor:
        """Its weights after its round as others may see them, θ_client: all as they are."""
        return theta_P

    def staying(self, layout: Layout) -> list[str]:
        """The parameters that stay with a client, and are no traffic: none."""
        return []

    def travelling(self, layout: Layout) -> int:
        """How many of the model's numbers travel: P, less those that stay."""
        return layout.total - int(layout.where(self.staying(layout)).sum())

    def begin(self, client: ClientContext) -> ClientContext:
        """Before the first step."""
        return client

    def point(self, theta_P: Tensor, client: ClientContext, t: int) -> Tensor:
        """Where a client optimiser that does not perturb takes its gradient in step t: at w."""
        return theta_P

    def ascent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """What a perturbation is made of: g."""
        return gradient_P

    def perturbed(self, epsilon_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """The perturbation that is taken at theta, given the client optimiser's: ε."""
        return epsilon_P

    def ascended(self, epsilon_P: Tensor, client: ClientContext) -> ClientContext:
        """After the perturbation."""
        return client

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """What is descended along, before clipping and weight decay: g."""
        return gradient_P

    def rate(self, t: int, client: ClientContext) -> Tensor | float:
        """The learning rate in step t."""
        return client.lr

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """After the last step, at theta_client: the vectors it keeps, and what it sends beside its update; of that the
        server gets the sum over the clients that delivered, or the mean of what is `averaged`.
        """
        return client.state, {}
