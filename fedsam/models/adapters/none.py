"""All that the model itself says is trained."""

from __future__ import annotations

from torch import nn

from fedsam.models.adapters.base import Adapter


class NoAdapter(Adapter):
    """The model as it is."""

    def adapted(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module
