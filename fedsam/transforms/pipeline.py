"""What is done to updates where they were made, in its order, and undone where they arrive.

Shapes: K clients of a block, P parameters, n numbers of something smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedsam.engine.support.upload import uploaded
from fedsam.rng import stream
from fedsam.transforms.base import Compression, Privacy, State

RESIDUAL = "compression residual"
"""The vector of a client with error feedback."""
PRIVACY = "privacy"
"""What clients are sent for the privacy mechanism."""
FACTOR = "factor"
"""In a payload: what the compressed update is multiplied with."""


@dataclass(frozen=True)
class Sent:
    """What clients make of their updates.

    Args:
        delta_KP: what the server takes them for.
        payload: what travels, [K, n] by name.
        client_state: what they keep, [K, P] by name.
        told: what they tell beside it, [K, n] by name.
    """

    delta_KP: Tensor
    payload: State
    client_state: State
    told: State


@dataclass(frozen=True)
class Transforms:
    """With a compression C, clip c and noise n of the client:

        x_k = delta_k + e_k,    sent_k = min(1, c / ‖C(x_k)‖) C(x_k) + n_k,    e_k ← x_k − C(x_k)

    The clip comes after the compression, so that it bounds what is sent whatever C does to lengths.

    Args:
        compression, privacy: of the run.
        seed: draws are keyed by it, the round and the client.
    """

    compression: Compression
    privacy: Privacy
    seed: int

    @classmethod
    def of(cls, compression: Compression, privacy: Privacy, seed: int) -> Transforms | None:
        """None where updates are sent as they are."""
        return cls(compression, privacy, seed) if compression.active or privacy.active else None

    @property
    def client_state(self) -> tuple[str, ...]:
        """Names of the vectors [P] that clients keep."""
        return (RESIDUAL,) if self.compression.remembers else ()

    def client(self, delta_KP: Tensor, ids: Sequence[int], round: int, sent: State, client_state: State) -> Sent:
        """What these clients make of their updates in this round, from 0.

        Args:
            sent: what they were sent beside the model.
            client_state: what they kept from their last round.
        """
        kept, draws, total = {}, self._draws(ids, round, delta_KP), delta_KP.shape[-1]
        if self.compression.remembers:
            delta_KP = delta_KP + client_state[RESIDUAL].to(delta_KP)
        payload = self.compression.encode(delta_KP, draws)
        sent_KP = self.compression.decode(payload, draws, total)
        if self.compression.remembers:
            kept[RESIDUAL] = delta_KP - sent_KP
        if not self.privacy.active:
            return Sent(sent_KP, payload, kept, {})
        own = sent[PRIVACY]
        factor_K1, told = self.privacy.factor(sent_KP, own)
        sent_KP = factor_K1 * sent_KP
        if self.privacy.dense:
            streams = (stream(self.seed, "client noise", round, client) for client in ids)
            sent_KP = sent_KP + torch.stack([self.privacy.noise(rng, total, own) for rng in streams])
        payload = payload | {FACTOR: factor_K1} if self.compression.active else {"delta": sent_KP}
        return Sent(sent_KP, payload, kept, told)

    def decode(self, payload: State, ids: Sequence[int], round: int, like: Tensor) -> Tensor:
        """The updates of a payload, [K, P], as they were taken for where it was made.

        Args:
            like: a vector [P] of the type and on the device of parameters.
        """
        delta_KP = self.compression.decode(payload, self._draws(ids, round, like), like.shape[-1])
        return payload[FACTOR] * delta_KP if FACTOR in payload else delta_KP

    def empty(self, like: Tensor) -> State:
        """What travels for an update of zeros, [1, n] by name: as much as for any other.

        Args:
            like: a vector [P] of the type of parameters.
        """
        payload = self.compression.encode(torch.zeros_like(like)[None], self._draws([0], 0, like))
        return payload | ({FACTOR: like.new_ones(1)} if self.privacy.active and self.compression.active else {})

    def _draws(self, ids: Sequence[int], round: int, like: Tensor) -> State:
        """Of the compression, [K, n] by name."""
        if type(self.compression).draw is Compression.draw:  # to begin a stream takes a while
            return {}
        each = [
            self.compression.draw(stream(self.seed, "compression", round, client), like.shape[-1]) for client in ids
        ]
        return uploaded({name: np.stack([own[name] for own in each]) for name in each[0]}, like.device)


def bytes_of(transforms: Transforms | None, like: Tensor) -> int:
    """Bytes that travel for one client's update.

    Args:
        transforms: of the run, if there are any.
        like: a vector [P] of the type of parameters.
    """
    payload = transforms.empty(like) if transforms else {"delta": like}
    return sum(each.numel() * each.element_size() for each in payload.values())
