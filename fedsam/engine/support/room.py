"""How many clients a GPU has memory for at once.

Shapes: P parameters, B batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fedsam.engine.context import RunContext
from fedsam.params import theta_of

SHARE = 1 / 4
"""Of the device's memory that a block may take: a block of another shape, captured beside it, takes as much again."""
VECTORS = 6
"""Of P numbers that a client has in a local step: sent, before, after, gradient, perturbation, momentum."""
PASSES = 2
"""What is kept of a forward pass, and its derivatives."""
MOST = 1024
"""Clients of a block: with more of them no kernel gets any larger for its launch to count."""


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all that is made inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled; see `fedsam.engine.blocks.Undecided`

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not func.is_view:
            self.number += out.numel() * out.element_size()
        return out


def client_bytes(context: RunContext) -> int:
    """What a client takes in a local step: its vectors, and `PASSES` times all that a forward pass over its batch
    makes, of which a few examples tell.
    """
    theta_P = theta_of(context.module)
    vectors = VECTORS * context.layout.total + 2 * sum(context.client_state.values())
    found = vectors * context.dtype.itemsize
    if context.sample is None or not len(context.sample):
        return found
    inputs = context.prepare(context.place(context.sample).inputs)
    with torch.no_grad(), _Made() as made:
        context.outputs(context.initial(theta_P), inputs)
    batch = context.optimizer.base_optimizer.batch_size
    return int(found + PASSES * made.number * batch // len(context.sample))


def clients_that_fit(context: RunContext) -> int:
    """Clients of a block on a context's GPU, from 1 to `MOST`; the same on every GPU with as much memory."""
    total = torch.cuda.mem_get_info(context.device)[1]
    return max(1, min(MOST, int(SHARE * total) // client_bytes(context)))
