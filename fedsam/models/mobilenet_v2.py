"""MobileNetV2 with group or batch normalisation."""

from __future__ import annotations

from typing import Literal

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import check_groups, normaliser


class MobileNetV2(Model):
    """torchvision's MobileNetV2, its layers by their names and its initialisation, without dropout: a 3×3 convolution
    with stride 2, 17 inverted residual blocks, a 1×1 convolution to 1,280 channels, logits.

    Sandler et al., CVPR 2018, table 2. With GroupNorm, what Hsu, Qi and Brown train on Landmarks-User-160k (ECCV 2020,
    section 4). 2,236,682 parameters for 10 classes. Made for large images: of 32×32 its last stage sees one pixel.
    """

    requires = frozenset({"images"})

    width: float = key(1.0, "factor of the channels", "Sandler et al. 2018", gt=0.0, le=16.0)
    norm: Literal["group", "batch"] = key(
        "group", "normalisation: GroupNorm or BatchNorm", "Hsu et al. 2020, after Hsieh et al. 2020"
    )
    groups: int = key(8, "groups of each GroupNorm; a divisor of 8", "all channels are multiples of 8", ge=1)

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide 8."""
        check_groups(self.norm, self.groups, 8)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        from torchvision.models.mobilenetv2 import MobileNetV2 as Theirs

        norm = None if self.norm == "batch" else normaliser(self.norm, self.groups)
        module: nn.Module = Theirs(num_classes=classes, width_mult=self.width, norm_layer=norm, dropout=0.0)
        if shape[2] != 3:
            stem = module.features[0]  # type: ignore[index]
            stem[0] = nn.Conv2d(shape[2], stem[0].out_channels, 3, stride=2, padding=1, bias=False)  # type: ignore
            nn.init.kaiming_normal_(stem[0].weight, mode="fan_out")  # type: ignore
        return module
