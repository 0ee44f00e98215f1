"""Models: one module each; any `package.module:callable` that returns a torch module works beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.models.bisenetv2 import BiSeNetV2
    from fedsam.models.cnn import CNN
    from fedsam.models.lraspp import LRASPP
    from fedsam.models.lstm import LSTM
    from fedsam.models.mlp import MLP
    from fedsam.models.mobilenet_v2 import MobileNetV2
    from fedsam.models.resnet8 import ResNet8
    from fedsam.models.resnet18 import ResNet18
    from fedsam.models.resnet18_imagenet import ResNet18ImageNet
    from fedsam.models.resnet20 import ResNet20
    from fedsam.models.resnet34 import ResNet34
    from fedsam.models.resnet50 import ResNet50
    from fedsam.models.transformer import Transformer
    from fedsam.models.unet import UNet
    from fedsam.models.wide_resnet import WideResNet

__all__ = [
    "CNN",
    "LRASPP",
    "LSTM",
    "MLP",
    "BiSeNetV2",
    "MobileNetV2",
    "ResNet8",
    "ResNet18",
    "ResNet18ImageNet",
    "ResNet20",
    "ResNet34",
    "ResNet50",
    "Transformer",
    "UNet",
    "WideResNet",
]
__getattr__ = short("fedsam.models")
