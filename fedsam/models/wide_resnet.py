"""Wide residual networks, with group, batch or no normalisation.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, Norm, check_groups, normaliser


class Wide(nn.Module):
    """z = relu(norm1(x));  conv2(relu(norm2(conv1(z)))) + x; where the shape changes + shortcut(z), a 1×1 convolution.

    Zagoruyko and Komodakis 2016, figure 1c without dropout: normalisation comes first (He et al., ECCV 2016).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        z_BCHW = torch.relu(self.norm1(x_BCHW))
        beside_BCHW: Tensor = x_BCHW if self.shortcut is None else self.shortcut(z_BCHW)
        hidden_BCHW: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(z_BCHW))))
        return hidden_BCHW + beside_BCHW


class Network(nn.Module):
    """A 3×3 convolution with 16 channels, three stages of blocks with 16, 32 and 64 times `width` channels, relu(norm),
    global average pooling, logits.

    Each stage but the first begins with stride 2. Any image size: a side of n pixels leaves ⌈n / 4⌉.

    Args:
        channels: C of the images.
        classes: L.
        blocks: in each stage.
        width: the factor.
        norm: makes the normalisation of so many channels.
    """

    def __init__(self, channels: int, classes: int, blocks: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        stages, inputs = [], 16
        for stage, outputs in enumerate((16 * width, 32 * width, 64 * width)):
            first = Wide(inputs, outputs, 1 if stage == 0 else 2, norm)
            stages.append(nn.Sequential(first, *(Wide(outputs, outputs, 1, norm) for _ in range(blocks - 1))))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.norm = norm(inputs)
        self.out = nn.Linear(inputs, classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, L]."""
        hidden_BCHW = torch.relu(self.norm(self.stages(self.conv(images_BCHW))))
        logits_BL: Tensor = self.out(hidden_BCHW.mean(dim=(2, 3)))
        return logits_BL


class WideResNet(Model):
    """WRN-d-k: d convolutions deep, k times as wide as a thin residual network; d is 16, k is 8.

    Zagoruyko and Komodakis, BMVC 2016, table 1, with blocks of two 3×3 convolutions, without dropout, and GroupNorm (Wu
    and He, ECCV 2018) in place of BatchNorm unless chosen otherwise. Parameters for 10 classes: 10,961,370 of WRN-16-8,
    36,479,194 of WRN-28-10. Initialisation is torch's.
    """

    requires = frozenset({"images"})

    depth: int = key(16, "d, convolutions on the way; 6 n + 4", "Zhou et al. 2025, for CIFAR-10", ge=10, le=1000)
    width: int = key(8, "k, how many times as wide as a thin network", "Zhou et al. 2025, for CIFAR-10", ge=1, le=2**12)
    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(
        2, "groups of each GroupNorm; a divisor of 16", "Reddi et al. 2021, after Hsieh et al. 2020", ge=1
    )

    def model_post_init(self, context: object) -> None:
        """Refuse depths that no whole number of blocks makes, and groups that do not divide 16."""
        if (self.depth - 4) % 6:
            below = self.depth - (self.depth - 4) % 6
            raise InputError("depth", self.depth, f"must be 6 n + 4, such as {below} or {below + 6}")
        check_groups(self.norm, self.groups, 16)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        return Network(shape[2], classes, (self.depth - 4) // 6, self.width, normaliser(self.norm, self.groups))
