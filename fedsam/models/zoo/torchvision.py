"""`model.name=torchvision:resnet18`: torchvision's models, with new weights, for the data's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchvision import models

from fedsam.border.extra import no_such


def offered(name: str) -> Callable[..., Any]:
    """What builds the model of this name.

    Raises:
        InputError: torchvision has none.
    """
    known = models.list_models()
    if name not in known:
        raise no_such(name, "torchvision", f"torchvision has no such model among its {len(known)}", known)
    build: Callable[..., Any] = models.get_model_builder(name)
    return build
