"""ResNet-18 as it is for ImageNet, with group, batch or no normalisation."""

from __future__ import annotations

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, check_groups, normaliser


class ResNet18ImageNet(Model):
    """torchvision's ResNet-18: a 7×7 convolution with stride 2, max pooling with stride 2, four stages of two basic
    blocks with 64 to 512 channels, logits; its initialisation too.

    He et al., CVPR 2016, table 1. What Coldenhoff, Li and Zhu 2022 train on images of 32×32, of which the stem leaves
    8×8; `resnet18` has a stem for such images. 11,181,642 parameters for 10 classes and BatchNorm. GroupNorm (Wu and
    He, ECCV 2018) is in place of it unless chosen otherwise.
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
        from torchvision.models.resnet import BasicBlock, ResNet

        module = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=classes, norm_layer=normaliser(self.norm, self.groups))
        if shape[2] != 3:
            module.conv1 = nn.Conv2d(shape[2], 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
        built: nn.Module = module
        return built
