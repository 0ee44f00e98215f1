"""Models: one module each; any `package.module:callable` that returns a torch module works beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.models.cnn import CNN
    from fedsam.models.mlp import MLP
    from fedsam.models.resnet8 import ResNet8
    from fedsam.models.resnet18 import ResNet18
    from fedsam.models.resnet18_imagenet import ResNet18ImageNet
    from fedsam.models.resnet20 import ResNet20
    from fedsam.models.resnet34 import ResNet34
    from fedsam.models.resnet50 import ResNet50
    from fedsam.models.wide_resnet import WideResNet

__all__ = ["CNN", "MLP", "ResNet8", "ResNet18", "ResNet18ImageNet", "ResNet20", "ResNet34", "ResNet50", "WideResNet"]
__getattr__ = short("fedsam.models")
