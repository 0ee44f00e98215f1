"""ResNet-20 for CIFAR, with group, batch or no normalisation."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, ResNet, Subsample, check_groups, normaliser


class ResNet20(Model):
    """A 3×3 convolution, three stages of three basic blocks with c, 2c and 4c channels, logits; c is 16.

    He et al., CVPR 2016, section 4.2, with their option A shortcuts (no parameters), and GroupNorm (Wu and He, ECCV
    2018) in place of BatchNorm unless chosen otherwise. 269,722 parameters for 10 classes. Initialisation is torch's.
    """

    requires = frozenset({"images"})

    channels: int = key(
        16,
        "channels of the first stage; the next ones have two and four times as many",
        "He et al. 2016",
        ge=1,
        le=2**16,
    )
    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(
        2,
        "groups of each GroupNorm; a divisor of the channels of the first stage",
        "Reddi et al. 2021, after Hsieh et al. 2020",
        ge=1,
    )

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide the channels of the first stage."""
        check_groups(self.norm, self.groups, self.channels, "model.channels")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        widths = self.channels, 2 * self.channels, 4 * self.channels
        return ResNet(
            shape[2], classes, widths, blocks=(3, 3, 3), norm=normaliser(self.norm, self.groups), shortcut=Subsample
        )
