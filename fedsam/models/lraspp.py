"""LR-ASPP on MobileNetV3-Large, with group or batch normalisation.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.models.base import Model
from fedsam.models.blocks import check_groups, normaliser
from fedsam.models.resize import resized


class LRASPP(Model):
    """torchvision's `lraspp_mobilenet_v3_large`, its layers by their names, nothing downloaded: MobileNetV3-Large with
    dilation in its last stage, a head that weighs features of 1/16 by their mean and adds features of 1/8, logits of
    each pixel by bilinear interpolation.

    Howard et al., ICCV 2019, figure 10. GroupNorm (Wu and He, ECCV 2018) is in place of BatchNorm unless chosen
    otherwise. 3,221,538 parameters for 21 classes.
    """

    requires = frozenset({"images", "masks"})

    width: float = key(1.0, "factor of the channels", "Howard et al. 2019", gt=0.0, le=16.0)
    norm: Literal["group", "batch"] = key(
        "group", "normalisation: GroupNorm or BatchNorm", "Hsu et al. 2020, after Hsieh et al. 2020"
    )
    groups: int = key(8, "groups of each GroupNorm; a divisor of 8", "all channels are multiples of 8", ge=1)

    def model_post_init(self, context: object) -> None:
        """Refuse groups that do not divide 8."""
        check_groups(self.norm, self.groups, 8)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        from torchvision.models._utils import IntermediateLayerGetter
        from torchvision.models.mobilenetv3 import mobilenet_v3_large
        from torchvision.models.segmentation.lraspp import LRASPP as Theirs  # noqa: N811

        norm = None if self.norm == "batch" else normaliser(self.norm, self.groups)
        features: Any = mobilenet_v3_large(
            weights=None, dilated=True, width_mult=self.width, norm_layer=norm, num_classes=1
        ).features
        halving = [0, *(i for i, block in enumerate(features) if getattr(block, "_is_cn", False)), len(features) - 1]
        low, high = halving[-4], halving[-1]
        if shape[2] != 3:
            stem = features[0][0]
            features[0][0] = nn.Conv2d(shape[2], stem.out_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(features[0][0].weight, mode="fan_out")
        backbone = IntermediateLayerGetter(features, {str(low): "low", str(high): "high"})
        module: Any = Theirs(backbone, features[low].out_channels, features[high].out_channels, classes)
        if norm is not None:
            module.classifier.cbr[1] = norm(module.classifier.cbr[0].out_channels)
        return _LRASPP(_written_out(module.backbone), _written_out(module.classifier))


def _written_out(module: nn.Module) -> nn.Module:
    """The same with other layers for two of torch's: one that vmap does not know on channels-last images, and one that
    has no second derivative.
    """
    for part in module.modules():
        for name, layer in part.named_children():
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                setattr(part, name, _Mean())
            elif isinstance(layer, nn.Hardsigmoid):
                setattr(part, name, _HardSigmoid())
    return module


class _Mean(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.mean(dim=(2, 3), keepdim=True)


class _HardSigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x + 3) / 6


class _LRASPP(nn.Module):
    backbone: Any
    classifier: Any

    def __init__(self, backbone: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, L, H, W]."""
        features, head = self.backbone(images_BCHW), self.classifier
        low, high = features["low"], features["high"]
        weighed = head.cbr(high) * head.scale(high)
        logits = head.low_classifier(low) + head.high_classifier(resized(weighed, low.shape[2:]))
        return resized(logits, images_BCHW.shape[2:])
