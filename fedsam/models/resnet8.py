"""ResNet-8: the smallest of the CIFAR networks, for tiny images and quick experiments."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, ResNet, Subsample, check_groups, normaliser


class ResNet8(Model):
    """A 3×3 convolution, three stages of one basic block with w, 2w and 4w channels, logits.

    He et al., CVPR 2016, section 4.2, with n = 1 of their 6n + 2 layers (they begin with n = 3) and their option A
    shortcuts, and GroupNorm in place of BatchNorm unless chosen otherwise. 75,290 parameters for 10 classes and images
    of three channels. Initialisation is torch's.
    """

    requires = frozenset({"images"})

    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(2, "groups of each GroupNorm; a divisor of model.width", "as resnet20", ge=1)
    width: int = key(16, "w, channels of the first stage", "He et al. 2016", ge=1, le=2**16)

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide the width."""
        check_groups(self.norm, self.groups, self.width, "model.width")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        w, norm = self.width, normaliser(self.norm, self.groups)
        return ResNet(shape[2], classes, (w, 2 * w, 4 * w), blocks=(1, 1, 1), norm=norm, shortcut=Subsample)
