"""What a model is: a recipe for a torch module that fits a data set."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn

from fedsam.border.budget import Need, must_fit
from fedsam.border.outsized import outsized
from fedsam.config import Component, find, key, names
from fedsam.errors import InputError, under
from fedsam.models.adapters.base import Adapter
from fedsam.models.initialise import Form, built, initialised
from fedsam.models.weights import put_in


class Model(Component):
    """A recipe for a module that maps a batch of inputs to outputs: normalised images [B, C, H, W] to logits [B, L].

    Batches lie in channels-last order in memory. In training the module is called as it was built, each layer in its
    own mode, also under `torch.func.vmap`; in evaluation all layers are in evaluation mode.
    """

    kind: ClassVar[str] = "model"
    package: ClassVar[str] = "fedsam.models"

    weights: str | None = key(
        None,
        "file with the weights to begin with, .safetensors or a state_dict that torch.save wrote; none = initial ones",
        "off",
        path=True,
    )
    adapter: Adapter = key("none", "what of the model is trained, and what is put into it for that", "all of it")

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module for inputs of `shape`, of images (H, W, C), and `classes` numbers for each, with torch's default
        initialisation.

        Raises:
            InputError: the model does not fit such inputs.
        """

    def build_for(self, form: Form) -> nn.Module:
        """The module for what `form` says: `build` of its shape and classes. A recipe that has to know more, such as
        the vocabulary of tokens, overrides this.
        """
        return self.build(form.shape, form.classes)

    def begun(self, module: nn.Module) -> nn.Module:
        """A module that was built, with the weights and the adapter that are asked for.

        Raises:
            InputError: they do not fit it.
        """
        if self.weights is not None:
            put_in(module, self.weights)
        with under("adapter"):
            return self.adapter.adapted(module)

    def module(self, shape: tuple[int, ...], classes: int, seed: int, form: Form | None = None) -> nn.Module:
        """The module on the CPU, its initial weights keyed by `seed`, and checked to be one that can be trained here.

        Args:
            shape: of a stored input.
            classes: or other numbers that it must give.
            seed: of the run.
            form: of inputs and outputs; None = images of this shape and logits of so many classes.

        Raises:
            InputError: it cannot; see `fedsam.models.initialise.initialised`.
        """
        ours, form = ":" not in self.name, form or Form.of_images(shape, classes)
        if ours and len(form.outputs) == 3 and "masks" not in self.requires:
            others = [name for name in names(Model) if "masks" in find(Model, name).requires]
            told = "gives one output for an image, and the task needs one for each pixel"
            raise InputError("name", self.name, f"{told}; use {', '.join(others)}")
        if ours:  # others' code is called once only, since it may do more than build
            number = self._parameters(form)
            field, given = next(iter(outsized(self).items()), ("name", self.name))
            must_fit([Need(field, given, f"{number:,} parameters", 4 * number)])
        return initialised(lambda: self.begun(self.build_for(form)), self.name, shape, classes, seed, ours, form)

    def untouched(self, shape: tuple[int, ...], classes: int, seed: int, form: Form | None = None) -> nn.Module:
        """The same module with torch's own layers, as `build` returns it."""
        form = form or Form.of_images(shape, classes)
        return built(lambda: self.begun(self.build_for(form)), self.name, form.inputs, seed)

    def _parameters(self, form: Form) -> int:
        """Parameters of the module, without memory for them."""
        with torch.device("meta"), torch.no_grad():
            return sum(tensor.numel() for tensor in self.build_for(form).parameters())
