"""ResNet-18 for small images, with group, batch or no normalisation."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, Projection, ResNet, check_groups, normaliser


class ResNet18(Model):
    """A 3×3 convolution without max pooling, four stages of two basic blocks with 64 to 512 channels, logits.

    He et al., CVPR 2016, table 1, with option B shortcuts (1×1 convolutions), the stem of their CIFAR networks (section
    4.2), and GroupNorm (Wu and He, ECCV 2018) in place of BatchNorm unless chosen otherwise. 11,173,962 parameters for
    10 classes. Initialisation is torch's.
    """

    requires = frozenset({"images"})

    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(
        2, "groups of each GroupNorm; a divisor of 64", "Reddi et al. 2021, after Hsieh et al. 2020", ge=1
    )

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide 64."""
        check_groups(self.norm, self.groups, 64)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        return ResNet(
            shape[2],
            classes,
            (64, 128, 256, 512),
            blocks=(2, 2, 2, 2),
            norm=normaliser(self.norm, self.groups),
            shortcut=Projection,
        )
