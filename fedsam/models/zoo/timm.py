"""`model.name=timm:vit_tiny_patch16_224`: models of timm, with new weights, for the data's size and classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import nn

from fedsam.border.extra import needed, no_such


@lru_cache(maxsize=256)
def offered(name: str) -> Callable[..., nn.Module]:
    """What builds the model of this name.

    Raises:
        InputError: timm is not installed, or has none.
    """
    timm = needed("timm", "name", f"timm:{name}")
    known = timm.list_models()
    if name not in known:
        raise no_such(name, "timm", f"timm has no such model among its {len(known)}", known)
    about = timm.models.get_pretrained_cfg(name)

    def build(
        shape: tuple[int, ...],
        num_classes: int,
        patch_size: int | None = None,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
    ) -> nn.Module:
        """A model of timm's; a setting that is not said is the model's own."""
        said: dict[str, Any] = {"patch_size": patch_size, "drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        said |= {"img_size": shape[:2]} if about is not None and about.fixed_input_size else {}
        given = {name: value for name, value in said.items() if value is not None}
        module: nn.Module = timm.create_model(name, num_classes=num_classes, in_chans=shape[-1], **given)
        return module

    return build
