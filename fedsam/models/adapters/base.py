"""What an adapter is: it says which parameters of a module are trained, and may put new ones into it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from fedsam.config import Component


class Adapter(Component):
    """Changes a module that was built, with its weights, before it is trained.

    What requires a gradient afterwards is theta: it alone is trained, travels and is averaged. The rest are constants,
    which every place that builds the model has from the same recipe.
    """

    kind: ClassVar[str] = "adapter"
    package: ClassVar[str] = "fedsam.models.adapters"

    @abstractmethod
    def adapted(self, module: nn.Module) -> nn.Module:
        """The module to be trained; the same object, changed.

        Raises:
            InputError: it has no such parts.
        """
