"""The residual networks with an eighth of their channels, for tests of what does not depend on how many there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any

import pytest
from torch import nn
from torchvision.models import resnet as torchvisions

from fedsam import models
from fedsam.models import blocks, wide_resnet


class OfTorchvision(torchvisions.ResNet):  # type: ignore[misc]
    """With stages of 8 to 64 channels after the stem."""

    def __init__(self, *of: Any, num_classes: int, **more: Any) -> None:
        super().__init__(*of, num_classes=num_classes, **more)
        self.fc = nn.Linear(64, num_classes)

    def _make_layer(self, block: Any, planes: int, *of: Any, **more: Any) -> nn.Sequential:
        made: nn.Sequential = super()._make_layer(block, planes // 8, *of, **more)
        return made


def narrow(monkeypatch: pytest.MonkeyPatch, depth: int | None = None) -> None:
    """Make them so from here on; with so many blocks in each stage, or as many as they have."""

    def made(channels: int, classes: int, widths: Sequence[int], *, blocks: Sequence[int], **more: Any) -> nn.Module:
        more |= {"blocks": blocks if depth is None else [depth] * len(blocks)}
        more |= {"stem": 8} if "stem" in more else {}
        return residual(channels, classes, [max(8, width // 8) for width in widths], **more)

    def torchvisions_made(block: Any, stages: Sequence[int], **more: Any) -> nn.Module:
        return OfTorchvision(block, stages if depth is None else [depth] * len(stages), **more)

    def wide_made(channels: int, classes: int, stages: int, width: int, norm: blocks.Norm) -> nn.Module:
        return wide(channels, classes, stages if depth is None else depth, 1, norm)

    residual, wide = blocks.ResNet, wide_resnet.Network
    for found in pkgutil.iter_modules(models.__path__, "fedsam.models."):
        module = importlib.import_module(found.name)
        if module is not blocks and getattr(module, "ResNet", None) is residual:
            monkeypatch.setattr(module, "ResNet", made)
    monkeypatch.setattr(torchvisions, "ResNet", torchvisions_made)
    monkeypatch.setattr(wide_resnet, "Network", wide_made)
