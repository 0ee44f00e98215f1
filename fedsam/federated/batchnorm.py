"""The server's side of batch normalisation: the mean of the clients' running statistics, and their estimation anew.

Shapes: B batch, S numbers of statistics, P parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.data.base import Federation
from fedsam.engine.context import RunContext, shared
from fedsam.models.batchnorm import NAME, BatchNorms
from fedsam.models.dropout import keys
from fedsam.params import Weights
from fedsam.rng import stream

BATCH = 256
CLIENTS = 256
"""At most, from whom public images are drawn."""


def public_images(federation: Federation, seed: int, images: int) -> np.ndarray:
    """Training images that stand for public data: drawn from all clients alike, without their labels, keyed by `seed`;
    uint8 [B, H, W, C] with B at most `images`.
    """
    rng = stream(seed, "public")
    ids = np.sort(rng.choice(federation.clients, size=min(federation.clients, CLIENTS, images), replace=False))
    store, index = federation.examples(ids.tolist())
    shuffled = [rng.permutation(own) for own in index]
    each = -(-images // len(ids))
    chosen = np.concatenate([own[:each] for own in shuffled])
    if len(chosen) < images:  # some clients have fewer than their share
        more = rng.permutation(np.concatenate([own[each:] for own in shuffled]))
        chosen = np.concatenate([chosen, more[: images - len(chosen)]])
    found: np.ndarray = store.inputs[rng.permutation(chosen)[:images]]
    return found


class Statistics:
    """The running statistics of a run's global model.

    Where clients' statistics are averaged, s ← Σ_k p_k s_k, with p_k as for the weights; counts are rounded to whole
    numbers. An average of global models over rounds has no statistics of its own, nor has any global model whose
    clients keep theirs: they are estimated on public data before such a model is evaluated or saved, as the plain mean
    over batches of mean and unbiased variance (Izmailov et al., UAI 2018, section 3.2; torch's `update_bn`).

    Args:
        context: of the run.
        federation: whose images are drawn.
        images: how many stand for public data.
    """

    def __init__(self, context: RunContext, federation: Federation, images: int) -> None:
        self.context, self.federation, self.images = context, federation, images
        self.norms: BatchNorms | None = context.batchnorms
        self.averaged = self.norms is not None and context.strategy.batchnorm == "average"
        like = torch.empty(0, dtype=context.dtype, device=context.device)
        self.now_S = self.norms.initial(like) if self.norms else like
        self._public: Tensor | None = None

    def sent(self) -> State:
        """What clients are sent of it."""
        return {NAME: self.now_S} if self.averaged else {}

    def take(self, uploads: State) -> None:
        """The statistics after a round, the mean of those that clients sent."""
        if self.averaged and self.norms:
            self.now_S = self.norms.whole(uploads[NAME])

    def of(self, served_P: Tensor, theta_P: Tensor) -> Weights:
        """A model with the statistics with which to evaluate it: those of the round for the global model itself.

        Args:
            served_P: the model.
            theta_P: the global model.
        """
        if self.norms is None:
            return Weights(served_P)
        now = self.averaged and served_P is theta_P
        return Weights(served_P, (self.now_S if now else self.estimated(served_P),))

    def buffers(self, served_P: Tensor, theta_P: Tensor) -> State:
        """The same by the names of the module's buffers."""
        return self.norms.buffers(*self.of(served_P, theta_P).statistics) if self.norms else {}

    def estimated(self, theta_P: Tensor) -> Tensor:
        """Statistics of a model on public data, [S]."""
        assert self.norms is not None
        if self._public is None:
            self._public = shared(public_images(self.federation, self.context.seed, self.images)).to(
                self.context.device
            )
        with torch.no_grad():
            return estimated(self.context, theta_P, self._public)


def estimated(context: RunContext, theta_P: Tensor, images: Tensor) -> Tensor:
    """Statistics of a model on these images: the mean of the batches', [S].

    Args:
        images: uint8 [B, H, W, C].
    """
    norms = context.batchnorms
    assert norms is not None
    mean_S = torch.zeros_like(norms.initial(theta_P))
    batches = torch.split(images, BATCH)
    key_N2 = torch.from_numpy(keys(context.seed, 0, 0, len(batches))).to(theta_P.device)
    for number, batch in enumerate(batches):
        key = key_N2[number] if context.network.draws else None
        with norms.training(mean_S, None, share=1 / (number + 1)) as done:
            context.network.trained(theta_P, context.prepare(batch), key)
        mean_S = norms.after(done)
    return mean_S
