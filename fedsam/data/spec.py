"""What is known of the examples of a data set before one is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from fedsam.data.preparation import Preparation


@dataclass(frozen=True)
class Spec:
    """What a model, a task and the engines must know of a data set.

    Args:
        classes: how many there are, where a target is one of some classes; else None.
        shape: of one input.
        dtype: of inputs as they are stored, as NumPy calls it.
        target_shape: of one target; () for one number.
        names: of the classes, if they have any.
        ignore: what a pixel of a mask holds that has no class, as the data set hands it in; None = each has one.
        vocabulary: how many tokens there are, where inputs are tokens from 0 on; else None. Where targets are tokens,
            too, `classes` is the same number and `names` are the tokens' texts.
        groups: the names of the users, domains or cities that examples come from, if that is known.
    """

    classes: int | None
    shape: tuple[int, ...]
    dtype: str = field(default="float32", kw_only=True)
    target_shape: tuple[int, ...] = field(default=(), kw_only=True)
    names: tuple[str, ...] = field(default=(), kw_only=True)
    groups: tuple[str, ...] = field(default=(), kw_only=True)
    ignore: int | None = field(default=None, kw_only=True)
    vocabulary: int | None = field(default=None, kw_only=True)

    @property
    def masks(self) -> bool:
        """Whether a target is a mask, a class for each pixel [H, W]; see `fedsam.data.masks` for how it is stored."""
        return self.classes is not None and len(self.target_shape) == 2

    @property
    def sequences(self) -> bool:
        """Whether a target is a class for each place of a sequence [T]; see `fedsam.data.tokens`."""
        return self.classes is not None and len(self.target_shape) == 1

    def plain(self) -> tuple[object, ...]:
        """What must be the same for a run to go on, as Python's own numbers."""
        return tuple(None if number is None else float(number) for number in (self.classes, *self.shape))

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Preparation:
        """How a batch of stored inputs becomes what a model is given."""
        from fedsam.data.preparation import Preparation

        return Preparation(dtype)
