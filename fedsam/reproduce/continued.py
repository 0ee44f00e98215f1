"""A model that begins with the weights another run ended with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.initialise import Form
from fedsam.runs.directory import RunDirectory


class Continued(Model):
    """The model of a finished run, with the weights and statistics of its model.safetensors as the initial ones.

    So runs make a sequence: a model is trained on one task after the other, or fine-tuned. Nothing else is taken over:
    momentum, averages and clients' own vectors begin anew. The other run's directory must be within reach wherever the
    model is built, on every machine of a cluster; the path is part of the run's description, its content is not.
    """

    of: str = key("", "run directory of the finished run whose model this one begins with", "sequences of tasks")

    def model_post_init(self, context: object) -> None:
        """Refuse no run."""
        if not self.of:
            raise InputError("of", self.of, "must be the directory of a finished run")
        if self.weights is not None:
            raise InputError("weights", self.weights, "the weights are those of the other run; leave it out")
        if self.adapter.name != "none":
            raise InputError("adapter", self.adapter.name, "what is trained is as in the other run; leave it out")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """As the other run's model does, before the weights are put in."""
        return self._architecture().build(shape, classes)

    def module(self, shape: tuple[int, ...], classes: int, seed: int, form: Form | None = None) -> nn.Module:
        """The module with the other run's weights.

        Raises:
            InputError: there is no finished run, or its model does not fit this data set.
        """
        import safetensors
        import safetensors.torch

        module = self._architecture().module(shape, classes, seed, form)
        try:
            blob = RunDirectory(Path(self.of)).model()
        except InputError as error:
            raise InputError("of", self.of, error.allowed) from None
        if blob is None:
            raise InputError("of", self.of, "holds no model yet; finish that run first")
        try:
            given = safetensors.torch.load(blob)
            constants = {} if given.keys() >= module.state_dict().keys() else module.state_dict()
            module.load_state_dict(constants | given)
        except (OSError, safetensors.SafetensorError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise InputError("of", self.of, f"its model cannot be used here: {first}") from None
        return module

    def _architecture(self) -> Model:
        """The model that the sequence of runs began with."""
        try:
            found = RunDirectory.open(Path(self.of))[1].model
        except InputError as error:
            raise InputError("of", self.of, error.allowed) from None
        return found._architecture() if isinstance(found, Continued) else found
