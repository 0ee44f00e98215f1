"""ResNet-50 for small images, with group, batch or no normalisation."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Bottleneck, Kind, Projection, ResNet, check_groups, normaliser


class ResNet50(Model):
    """A 3×3 convolution without max pooling, four stages of three, four, six and three bottleneck blocks with 256 to
    2048 channels, logits.

    He et al., CVPR 2016, table 1, with shortcuts, stem, normalisation and initialisation of `resnet18`. 23,520,842
    parameters for 10 classes.
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
            (256, 512, 1024, 2048),
            blocks=(3, 4, 6, 3),
            norm=normaliser(self.norm, self.groups),
            shortcut=Projection,
            block=Bottleneck,
            stem=64,
        )
