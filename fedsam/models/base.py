"""What a model is: a recipe for a torch module that fits a data set."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

from torch import nn

from fedsam.config import Component
from fedsam.initialise import built, images_of, initialised


class Model(Component):
    """A recipe for a module that maps normalised images [B, C, H, W] to logits [B, L].

    Batches lie in channels-last order in memory. In training the module is called as it was built, each layer in its
    own mode, also under `torch.func.vmap`; in evaluation all layers are in evaluation mode.
    """

    kind: ClassVar[str] = "model"
    package: ClassVar[str] = "fedsam.models"

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The module for images of `shape` (H, W, C) and `classes` classes, with torch's default initialisation.

        Raises:
            InputError: the model does not fit such images.
        """

    def module(self, shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
        """The module on the CPU, its initial weights keyed by `seed`, and checked to be one that can be trained here.

        Raises:
            InputError: it cannot; see `fedsam.initialise.initialised`.
        """
        return initialised(
            lambda: self.build(shape, classes), self.name, shape, classes, seed, ours=":" not in self.name
        )

    def untouched(self, shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
        """The same module with torch's own layers, as `build` returns it."""
        return built(lambda: self.build(shape, classes), self.name, images_of(shape), seed)

    @classmethod
    def adopt(cls, found: Any, name: str) -> type[Self]:
        """A model class for a callable that returns a module; see `fedsam.models.custom`."""
        from fedsam.models.custom import adopted

        return adopted(cls, found, name)
