"""Residual networks of basic or bottleneck blocks (He et al., CVPR 2016), with a normalisation to choose.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.errors import InputError

Norm = Callable[[int], nn.Module]  # channels -> layer
Shortcut = Callable[[int, int, int, Norm], nn.Module]  # (inputs, outputs, stride, norm) -> what runs beside a block
Block = Callable[[int, int, int, Norm, Shortcut], nn.Module]  # (inputs, outputs, stride, norm, shortcut) -> block
Kind = Literal["group", "batch", "none"]


def normaliser(kind: Kind, groups: int) -> Norm:
    """GroupNorm (Wu and He, ECCV 2018), BatchNorm (Ioffe and Szegedy, ICML 2015) or nothing."""
    makers: dict[Kind, Norm] = {
        "group": partial(nn.GroupNorm, groups),
        "batch": nn.BatchNorm2d,
        "none": nn.Identity,
    }
    return makers[kind]


def check_groups(kind: Kind, groups: int, channels: int, of: str = "") -> None:
    """Refuse a number of groups that does not divide the channels of the narrowest layer.

    Args:
        of: the key that decides these channels, if one does.

    Raises:
        InputError: it does not.
    """
    if kind == "group" and channels % groups:
        fit = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
        raise InputError(
            "groups",
            groups,
            f"must divide {channels}{f' ({of})' if of else ''}, the channels of the narrowest layer: one of {fit}",
        )


class Subsample(nn.Module):
    """Option A: every `stride`-th pixel, channels of zeros appended, no parameters (He et al. 2016, section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C + added, ⌈H / stride⌉, ⌈W / stride⌉]."""
        return F.pad(x_BCHW[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class Projection(nn.Sequential):
    """Option B: a 1×1 convolution with `stride`, normalised (He et al. 2016, section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))


class BasicBlock(nn.Module):
    """relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x)); the shortcut is the identity where shapes allow it.

    He et al. 2016, eqs. 1 and 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = norm(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else shortcut(inputs, outputs, stride, norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        hidden_BCHW = torch.relu(self.norm1(self.conv1(x_BCHW)))
        return torch.relu(self.norm2(self.conv2(hidden_BCHW)) + self.shortcut(x_BCHW))


class Bottleneck(nn.Module):
    """relu(norm3(conv3(relu(norm2(conv2(relu(norm1(conv1(x)))))))) + shortcut(x)): 1×1 to a quarter of the channels,
    3×3 with the stride, 1×1 back; the shortcut is the identity where shapes allow it.

    He et al. 2016, figure 5; the stride lies in the 3×3 convolution, as in torchvision.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, shortcut: Shortcut) -> None:
        super().__init__()
        inner = outputs // 4
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm1 = norm(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.norm2 = norm(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norm3 = norm(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else shortcut(inputs, outputs, stride, norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        hidden_BCHW = torch.relu(self.norm1(self.conv1(x_BCHW)))
        hidden_BCHW = torch.relu(self.norm2(self.conv2(hidden_BCHW)))
        return torch.relu(self.norm3(self.conv3(hidden_BCHW)) + self.shortcut(x_BCHW))


class ResNet(nn.Module):
    """A 3×3 convolution, stages of residual blocks, global average pooling, logits.

    Each stage but the first begins with stride 2. Any image size: a side of n pixels leaves ⌈n / 2^(stages − 1)⌉.

    Args:
        channels: C of the images.
        classes: L.
        widths: channels of each stage.
        blocks: blocks in each stage.
        norm: makes the normalisation of so many channels.
        shortcut: what runs beside a block that changes shape.
        block: their kind.
        stem: channels of the first convolution; None = those of the first stage.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: Sequence[int],
        *,
        blocks: Sequence[int],
        norm: Norm,
        shortcut: Shortcut,
        block: Block = BasicBlock,
        stem: int | None = None,
    ) -> None:
        super().__init__()
        inputs = widths[0] if stem is None else stem
        self.conv = nn.Conv2d(channels, inputs, 3, padding=1, bias=False)
        self.norm = norm(inputs)
        stages = []
        for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stride = 1 if stage == 0 else 2
            first = block(inputs, width, stride, norm, shortcut)
            rest = (block(width, width, 1, norm, shortcut) for _ in range(depth - 1))
            stages.append(nn.Sequential(first, *rest))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(inputs, classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, L]."""
        hidden_BCHW = self.stages(torch.relu(self.norm(self.conv(images_BCHW))))
        logits_BL: Tensor = self.out(hidden_BCHW.mean(dim=(2, 3)))
        return logits_BL
