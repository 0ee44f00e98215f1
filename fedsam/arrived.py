"""What comes of a round, client by client."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fedsam.engine.base import Order


@dataclass
class Arrived:
    """What has come of a round so far."""

    loss: Tensor
    ids: list[int] = field(default_factory=list)
    uploads: dict[str, Tensor] = field(default_factory=dict)
    failed: bool = False

    def __post_init__(self) -> None:
        self.loss = torch.zeros_like(self.loss)

    def share(self, order: Order) -> float:
        """Of the round's examples, those of the clients that delivered."""
        came = set(self.ids)
        return float(sum(weight for client, weight in zip(order.ids, order.weight_K, strict=True) if client in came))


def size_of(*tensors: Tensor) -> int:
    """Bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
