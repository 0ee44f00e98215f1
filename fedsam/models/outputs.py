"""What a module gives, in whatever it comes: the main output, and auxiliary ones, which count in training alone.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

MAIN = "logits", "out", "output", "outputs", "prediction", "pred", "main"
AUXILIARY = "aux"


class UnreadError(TypeError):
    """A module gave something in which there is no output that could be known for the main one."""


def outputs_of(given: Any) -> tuple[Tensor, ...]:
    """The main output and after it the auxiliary ones, [B, ...] each:

    - a tensor: itself;
    - a dictionary, a named tuple, a record such as `transformers`' `ModelOutput`s: what is called by one of `MAIN`, or
      the only tensor that there is; auxiliary are tensors whose names begin with `aux` (torchvision's segmentation
      networks, GoogLeNet, Inception);
    - a plain tuple or list: the first, and those after it that are tensors of the same shape; others, such as the
      states of a recurrent network, are no outputs.

    Raises:
        UnreadError: there is no main output, or it is no tensor.
    """
    if isinstance(given, Tensor):
        return (given,)
    if isinstance(given, tuple | list) and not hasattr(given, "_fields"):
        main, *others = given or (None,)
        if not isinstance(main, Tensor):
            raise UnreadError(f"{type(given).__name__} whose first part is {type(main).__name__}")
        return main, *(part for part in others if isinstance(part, Tensor) and part.shape == main.shape)
    tensors = {str(name): part for name, part in _named(given).items() if isinstance(part, Tensor)}
    auxiliary = {name: part for name, part in tensors.items() if name.startswith(AUXILIARY)}
    others = [name for name in tensors if name not in auxiliary]
    chosen = next((name for name in MAIN if name in others), others[0] if len(others) == 1 else None)
    if chosen is None:
        has = f" with {', '.join(others)}, none of them called {', '.join(MAIN)}" if others else ""
        raise UnreadError(f"{type(given).__name__}{has}")
    return tensors[chosen], *auxiliary.values()


def _named(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "_asdict"):
        return dict(given._asdict())
    return dict(getattr(given, "__dict__", {}))
