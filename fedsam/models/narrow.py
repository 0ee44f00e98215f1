"""Convolutions in bfloat16 for a block of clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)


class NarrowConvolutions(TorchFunctionMode):
    """Inside, a convolution whose input is in bfloat16 gets its weight and bias so, too.

    Autocast would do it, but under vmap it leaves the bias as it is where the input is in bfloat16 already, and torch
    refuses the mixture (seen in torch 2.15).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function, of narrowed arguments."""
        kwargs = kwargs or {}
        if func in CONVOLUTIONS:
            inputs = args[0] if args else kwargs["input"]
            if inputs.dtype == torch.bfloat16:
                args = (*(_narrow(each) for each in args[:3]), *args[3:])
                kwargs |= {name: _narrow(kwargs[name]) for name in ("weight", "bias") if name in kwargs}
        return func(*args, **kwargs)


def _narrow(given: Any) -> Any:
    return given.to(torch.bfloat16) if isinstance(given, torch.Tensor) else given
