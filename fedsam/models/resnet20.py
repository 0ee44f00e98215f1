"""ResNet-20 for CIFAR, with group, batch or no normalisation."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, ResNet, Subsample, check_groups, normaliser


class ResNet20(Model):
    """A 3×3 convolution, three stages of three basic blocks with 16, 32 and 64 channels, logits.

    He et al., CVPR 2016, section 4.2, with their option A shortcuts (no parameters), and GroupNorm (Wu and He, ECCV
    2018) in place of BatchNorm unless chosen otherwise. 269,722 parameters for 10 classes. Initialisation is torch's.
    """

    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(
        2, "groups of each GroupNorm; 1, 2, 4, 8 or 16", "Reddi et al. 2021, after Hsieh et al. 2020", ge=1
    )

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide 16."""
        check_groups(self.norm, self.groups, 16)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The module, for images of any size."""
        return ResNet(
            shape[2], classes, (16, 32, 64), blocks=3, norm=normaliser(self.norm, self.groups), shortcut=Subsample
        )
