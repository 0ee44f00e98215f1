"""What an augmentation is: draws made in advance for each sample, and their application on the device.

Shapes: T local steps, B batch, H height, W width, C channels, L classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from fedsam.config import Component
from fedsam.errors import InputError

if TYPE_CHECKING:
    from fedsam.data.spec import Spec

Draws = dict[str, np.ndarray]


class Augment(Component):
    """An augmentation of training batches. The default does nothing; a subclass overrides what it needs.

    `stored` sees inputs and targets as they are stored, `prepared` as the model is given them; what is needed of the
    data is said by `requires`. All of it must work under
    `torch.func.vmap`: no data-dependent control flow, no in-place writes to what was passed in, no randomness other
    than `draws`.

    One that comes after another holds it in a field of its own (`cutout_after`) and passes it each call first.
    """

    kind: ClassVar[str] = "augmentation"
    package: ClassVar[str] = "fedsam.data.augment"

    def model_post_init(self, context: object) -> None:
        """Refuse an augmentation that holds another of its own class: their draws and keys would share names."""
        for field in type(self).model_fields:
            held = getattr(self, field)
            if isinstance(held, Augment) and type(self) in held.classes():
                raise InputError(field, held.name, f"{self.name} would be applied twice; it can be once")

    def classes(self) -> set[type[Augment]]:
        """The classes of this augmentation and of those it holds."""
        held = [value for field in type(self).model_fields if isinstance(value := getattr(self, field), Augment)]
        return {type(self)}.union(*(inner.classes() for inner in held))

    @property
    def changes(self) -> bool:
        """Whether it overrides anything."""
        methods = "draw", "stored", "prepared"
        return any(getattr(type(self), name) is not getattr(Augment, name) for name in methods)

    def draw(self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]) -> Draws:
        """The draws of one client for one round.

        Args:
            rng: the client's stream for this purpose and round.
            count_T: valid samples of each step's batch, at most `batch`; the samples behind them are padding.
            batch: B.
            shape: of one stored input; of an image H, W, C.

        Returns:
            Arrays whose first two dimensions are [T, B], by names that no other augmentation uses.
        """
        return {}

    def stored(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Augment a batch as it is stored, [B, ...]; what moves the inputs can move the targets with them."""
        return inputs, targets

    def prepared(self, inputs: Tensor, targets: Tensor, spec: Spec, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Augment a batch as the model is given it, [B, ...], and its targets: classes [B], or probabilities [B, L]."""
        return inputs, targets
