"""What a server does: the defaults are FedAvg's.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientHooks, State
from fedsam.config import Component, key
from fedsam.params import Layout, weighted_sum
from fedsam.schedule.base import Clock

if TYPE_CHECKING:
    from fedsam.optim.base import ClientOptimizer

__all__ = ["Average", "Gathered", "State", "Strategy"]


@dataclass(frozen=True)
class Gathered:
    """What came from a round's clients beside their updates.

    Args:
        uploads: by name the sums over these clients of what each sent, or the means of what is `averaged`.
        delta_P: Σ_k p_k delta_k.
        clients: |S|, how many there were.
        population: N, all clients.
        lr: the clients' learning rate in this round.
    """

    uploads: State
    delta_P: Tensor
    clients: int
    population: int
    lr: float


class Strategy(ClientHooks):
    """An algorithm: how the clients' updates become the next global model, and what clients do beside training.

    A client's update is delta = theta_client − theta_sent.
    """

    kind: ClassVar[str] = "strategy"
    package: ClassVar[str] = "fedsam.strategies"

    state_memory: float = key(
        4.0,
        "GiB of memory for what clients keep from round to round; beyond it a file is used",
        "convention",
        ge=0.0,
        le=1e6,
    )

    public_images: int = key(
        2048,
        "training images of all clients that stand for public data, by which the batch normalisation of an averaged"
        " model is estimated",
        "convention",
        ge=2,
    )

    linear: ClassVar[bool] = True
    """Whether the updates' weighted sum is all that is used of them, so that engines may add up where they train."""

    @property
    def plain(self) -> bool:
        """Whether clients do nothing but train, so that any client will do."""
        hooks = (*ClientHooks.HOOKS, "sent", "broadcast", "absorb")
        return all(getattr(type(self), hook) is getattr(Strategy, hook) for hook in hooks)

    def init(self, theta_P: Tensor) -> State:
        """The server's state before the first round."""
        return {}

    def check(self, client: ClientOptimizer) -> None:
        """Refuse a client optimiser with which the algorithm has no meaning.

        Raises:
            InputError: with what to use instead; its key is of the group `client.`.
        """

    def check_model(self, layout: Layout) -> None:
        """Refuse a model with which the algorithm has no meaning.

        Raises:
            InputError: with what to use instead; its key is of the group `server.`.
        """

    def sent(self, theta_P: Tensor, state: State) -> Tensor:
        """The model that clients are sent: the global one."""
        return theta_P

    def broadcast(self, state: State) -> State:
        """What clients are sent beside it."""
        return {}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """The server's state after what the clients sent beside their updates; `update` comes after it."""
        return state

    def aggregate(self, updates: Iterable[tuple[Tensor, Tensor]], theta_P: Tensor) -> Tensor:
        """One update from many: Δ = Σ_k weight_k · delta_k, summed block by block as they arrive, in their order.

        Args:
            updates: blocks of (delta_KP, weight_K); over all blocks the weights n_k / Σ n sum to 1. For a `linear`
                strategy a block may also be one row, a weighted sum already, with weight 1.
            theta_P: the global model, for shape and device.
        """
        total_P: Tensor | None = None
        for delta_KP, weight_K in updates:
            part_P = weighted_sum(delta_KP, weight_K)
            total_P = part_P if total_P is None else total_P.add_(part_P)
        return torch.zeros_like(theta_P) if total_P is None else total_P

    def step(
        self, theta_P: Tensor, updates: Iterable[tuple[Tensor, Tensor]], state: State, clock: Clock
    ) -> tuple[Tensor, State]:
        """A round's whole server step: `update` with what `aggregate` makes of the updates."""
        return self.update(theta_P, self.aggregate(updates, theta_P), state, clock)

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """The next global model and server state: w ← w + Δ, from the model that was sent."""
        return theta_P + delta_P, state


class Average(Component):
    """An average of global models over rounds, around any strategy: evaluated and saved, never sent to clients. The
    default is none.
    """

    kind: ClassVar[str] = "average"
    package: ClassVar[str] = "fedsam.strategies.averages"

    def check(self, rounds: int) -> None:
        """Refuse settings under which nothing would ever be averaged.

        Raises:
            InputError: with what to change.
        """

    def kept(self, rounds: int) -> int:
        """How many models are kept for it in a run of so many rounds."""
        return 1

    def lr(self, lr: float, clock: Clock) -> float:
        """The clients' learning rate in this round, from the scheduled one."""
        return lr

    def update(self, sent_P: Tensor, theta_P: Tensor, state: State, clock: Clock) -> State:
        """The average's state after a round that sent `sent_P` and ended in `theta_P`; it starts empty."""
        return state

    def served(self, theta_P: Tensor, state: State) -> Tensor:
        """The model to evaluate and save: the average once it exists, else the global model."""
        return theta_P
