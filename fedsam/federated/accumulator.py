"""What comes of a round, client by client."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fedsam.engine.messages import Order


@dataclass
class RoundAccumulator:
    """What has come of a round so far."""

    loss: Tensor
    ids: list[int] = field(default_factory=list)
    uploads: dict[str, Tensor] = field(default_factory=dict)
    failed: bool = False

    def __post_init__(self) -> None:
        self.loss = torch.zeros_like(self.loss)

    def means(self, averaged: Collection[str], order: Order) -> dict[str, Tensor]:
        """What clients sent beside their updates: the sums over those that delivered, or the means of what is
        `averaged`.
        """
        if not self.failed:  # the shares sum to 1
            return self.uploads
        share = self.share(order)
        return {name: total / share if name in averaged else total for name, total in self.uploads.items()}

    def share(self, order: Order) -> float:
        """Of the round's examples, those of the clients that delivered."""
        came = set(self.ids)
        return float(sum(weight for client, weight in zip(order.ids, order.weight_K, strict=True) if client in came))


def size_of(*tensors: Tensor) -> int:
    """Bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
