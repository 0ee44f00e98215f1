"""What a model is: a recipe for a torch module that fits a data set."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from fedsam.config import Component


class Model(Component):
    """A recipe for a module that maps normalised images [B, C, H, W] to logits [B, L]."""

    kind: ClassVar[str] = "model"
    package: ClassVar[str] = "fedsam.models"

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The module for images of `shape` (H, W, C) and `classes` classes, with torch's default initialisation.

        Raises:
            InputError: the model does not fit such images.
        """
