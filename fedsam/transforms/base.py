"""What a transform of updates is: a compression of what a client sends, and a mechanism that keeps it private.

Where it was trained an update is compressed, then clipped; noise comes last, there or on the server. All functions of
clients are written for one client's vector [P] and for a block's [K, P] alike; the defaults change nothing.

Shapes: K clients of a block, P parameters, n numbers of something smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedsam.config import Component
from fedsam.engine.support.upload import uploaded
from fedsam.transforms.accountant import Sampled

State = dict[str, Tensor]
Draws = dict[str, np.ndarray]


@dataclass(frozen=True)
class Terms:
    """What a run's rounds have in common.

    Args:
        sampled: how clients are sampled.
        noise: z, the noise multiplier in force.
    """

    sampled: Sampled
    noise: float


class Compression(Component):
    """A compression of updates; the default sends them as they are.

    With error feedback a client keeps what was not sent, and adds it to its next update (Seide et al., Interspeech
    2014; Stich et al., NeurIPS 2018): with e_k = 0 at first,

        sent_k = C(delta_k + e_k),    e_k ← delta_k + e_k − sent_k
    """

    kind: ClassVar[str] = "compression"
    package: ClassVar[str] = "fedsam.transforms"
    active: ClassVar[bool] = True

    @property
    def remembers(self) -> bool:
        """Whether there is error feedback."""
        return False

    def draw(self, rng: np.random.Generator, total: int) -> Draws:
        """The random numbers of one client for a vector of so many numbers; the server can draw them, too."""
        return {}

    def encode(self, delta: Tensor, draws: State) -> State:
        """What travels for an update [..., P], by name [..., n], in as few bytes as it needs.

        Args:
            draws: of `draw`, [..., n] by name.
        """
        return {"delta": delta}

    def decode(self, payload: State, draws: State, total: int) -> Tensor:
        """C(delta), the update that the server takes it for, [..., P].

        Args:
            payload: of `encode`.
            total: P.
        """
        return payload["delta"]


class Privacy(Component):
    """A mechanism of differential privacy for clients; the default is none.

    All that a client sends in a round is one vector, no longer than a clip, which bounds what the client can change.
    """

    kind: ClassVar[str] = "privacy mechanism"
    package: ClassVar[str] = "fedsam.transforms"
    active: ClassVar[bool] = True

    @property
    def dense(self) -> bool:
        """Whether clients add noise themselves, so that no number of what they send is zero."""
        return False

    def check(self) -> None:
        """Refuse what cannot be computed on this machine.

        Raises:
            InputError: something is not installed.
        """

    def multiplier(self, rounds: int, sampled: Sampled) -> float:
        """z, the noise multiplier in force: standard deviation of the noise in the sum over the clip.

        Raises:
            InputError: there is none that is enough.
        """
        return 0.0

    def init(self, like: Tensor) -> State:
        """The server's state before the first round, on the device of `like`."""
        return {}

    def sent(self, state: State, terms: Terms, like: Tensor) -> Tensor:
        """What clients are sent of it, [n], with the type and on the device of `like`.

        Raises:
            InputError: the settings have no meaning for these terms.
        """
        return like.new_zeros(0)

    def factor(self, delta: Tensor, sent: Tensor) -> tuple[Tensor, State]:
        """What to multiply an update with so that it is short enough, [..., 1]; and what a client tells beside it, of
        which the server gets the sum, [..., n] by name.

        Args:
            delta: [..., P].
            sent: of `sent`.
        """
        return delta.new_ones(*delta.shape[:-1], 1), {}

    def noise(self, rng: np.random.Generator, total: int, sent: Tensor) -> Tensor:
        """What one client adds to its clipped update, [P]; asked for where it is `dense`."""
        return sent.new_zeros(total)

    def server(
        self, delta_P: Tensor, came: int, told: State, state: State, terms: Terms, rng: np.random.Generator
    ) -> tuple[Tensor, State]:
        """The private mean, and the state after the round.

        Args:
            delta_P: the plain mean of what came; zeros if nothing did.
            came: of how many clients.
            told: the sums of what they told beside it.
            state: before the round.
            terms: of the run.
            rng: of this round.
        """
        return delta_P, state

    def spent(self, rounds: int, terms: Terms) -> float | None:
        """Epsilon after so many rounds; None where there is no bound."""
        return None


def normal(rng: np.random.Generator, total: int, like: Tensor) -> Tensor:
    """Standard normal numbers of the type and on the device of a tensor, [P]."""
    dtype: type = np.float64 if like.dtype == torch.float64 else np.float32
    drawn = {"normal": rng.standard_normal(total, dtype=dtype)}
    return uploaded(drawn, like.device)["normal"].to(like.dtype)
