"""BiSeNetV2, with auxiliary heads in training, and with group, batch or no normalisation.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.blocks import Kind, Norm, check_groups, normaliser
from fedsam.models.resize import resized

EXPANSION = 6  # of gather-and-expansion layers


class BiSeNetV2(Model):
    """A wide and shallow branch for detail at 1/8 of the size, a narrow and deep one for meaning down to 1/32, each
    gated by the other (bilateral guided aggregation), logits of each pixel by bilinear interpolation.

    Yu et al., IJCV 2021, table 1. In training four further heads, at the stem and after the stages
    of the second branch, give auxiliary outputs (the booster), which count by `task.auxiliary_weight`. FedDrive's
    network (Fantauzzo et al., IROS 2022). 3,645,935 parameters for 19 classes, of which 287,308 are those of the
    auxiliary heads. GroupNorm is in place of BatchNorm unless chosen otherwise; no dropout; initialisation is torch's.
    """

    requires = frozenset({"images", "masks"})

    width: int = key(
        64,
        "w, channels of the first stage of detail; all others are multiples of w / 8",
        "Yu et al. 2021",
        ge=8,
        le=2**16,
    )
    norm: Kind = key(
        "group", "normalisation: GroupNorm, BatchNorm or none", "Reddi et al. 2021, after Hsieh et al. 2020"
    )
    groups: int = key(2, "groups of each GroupNorm; a divisor of model.width / 8", "as resnet20", ge=1)

    def model_post_init(self, context: object) -> None:
        """Refuse a width that cannot be divided so."""
        if self.width % 8:
            raise InputError("width", self.width, "must be a multiple of 8")
        check_groups(self.norm, self.groups, self.width // 8, "model.width / 8")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for images of any size."""
        return _BiSeNetV2(shape[2], classes, self.width, normaliser(self.norm, self.groups))


class _BiSeNetV2(nn.Module):
    def __init__(self, channels: int, classes: int, w: int, norm: Norm) -> None:
        super().__init__()

        def detail(inputs: int, outputs: int, layers: int) -> list[nn.Module]:
            later = [_Layer(outputs, outputs, norm) for _ in range(layers - 1)]
            return [_Layer(inputs, outputs, norm, stride=2), *later]

        self.detail = nn.Sequential(*detail(channels, w, 2), *detail(w, w, 3), *detail(w, 2 * w, 3))
        self.stem = _Stem(channels, w // 4, norm)
        self.stages = nn.ModuleList(
            nn.Sequential(_Halving(one, other, norm), *(_Gather(other, norm) for _ in range(layers)))
            for one, other, layers in ((w // 4, w // 2, 1), (w // 2, w, 1), (w, 2 * w, 3))
        )
        self.context = _Context(2 * w, norm)
        self.aggregation = _Aggregation(2 * w, norm)
        self.out = _head(2 * w, 16 * w, classes, norm)
        self.auxiliary = nn.ModuleList(_head(own, 2 * w, classes, norm) for own in (w // 4, w // 2, w, 2 * w))

    def forward(self, images_BCHW: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits [B, L, H, W]; in training beside auxiliary ones."""
        size = images_BCHW.shape[2:]
        features = [self.stem(images_BCHW)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        both = self.aggregation(self.detail(images_BCHW), self.context(features[-1]))
        logits = resized(self.out(both), size)
        if not self.training:
            return logits
        heads = zip(self.auxiliary, features, strict=True)
        return {"out": logits} | {f"aux{n}": resized(head(own), size) for n, (head, own) in enumerate(heads)}


class _Layer(nn.Sequential):
    """Convolution, normalisation, ReLU unless it is left out."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, *, side: int = 3, stride: int = 1, by: int = 1, relu: bool = True
    ) -> None:
        convolution = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, groups=by, bias=False)
        super().__init__(convolution, norm(outputs), *([nn.ReLU()] if relu else []))


class _Stem(nn.Module):
    """To 1/4 of the size by a convolution and by pooling, beside each other."""

    def __init__(self, channels: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.first = _Layer(channels, width, norm, stride=2)
        self.left = nn.Sequential(_Layer(width, width // 2, norm, side=1), _Layer(width // 2, width, norm, stride=2))
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.both = _Layer(2 * width, width, norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        found: Tensor = self.both(torch.cat([self.left(x), self.right(x)], dim=1))
        return found


class _Gather(nn.Module):
    """Gather and expansion: 3×3, depthwise to six times the channels, 1×1 back, beside the identity."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        wide = EXPANSION * width
        self.inner = nn.Sequential(
            _Layer(width, width, norm),
            _Layer(width, wide, norm, by=width),
            _Layer(wide, width, norm, side=1, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inner(x))


class _Halving(nn.Module):
    """The same with stride 2, and a second depthwise convolution; beside it a depthwise and a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        wide = EXPANSION * inputs
        self.inner = nn.Sequential(
            _Layer(inputs, inputs, norm),
            _Layer(inputs, wide, norm, stride=2, by=inputs, relu=False),
            _Layer(wide, wide, norm, by=wide),
            _Layer(wide, outputs, norm, side=1, relu=False),
        )
        self.beside = nn.Sequential(
            _Layer(inputs, inputs, norm, stride=2, by=inputs, relu=False),
            _Layer(inputs, outputs, norm, side=1, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) + self.beside(x))


class _Context(nn.Module):
    """The mean over the image, added to every pixel."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.mean = nn.Sequential(norm(width), _Layer(width, width, norm, side=1))
        self.both = _Layer(width, width, norm)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.both(x + self.mean(x.mean(dim=(2, 3), keepdim=True)))
        return found


class _Aggregation(nn.Module):
    """Detail at 1/8, gated by meaning, and meaning at 1/32, gated by detail; their sum at 1/8."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()

        def apart() -> nn.Sequential:
            return nn.Sequential(
                _Layer(width, width, norm, by=width, relu=False), nn.Conv2d(width, width, 1, bias=False)
            )

        self.detail_same, self.meaning_same = apart(), apart()
        self.detail_down = nn.Sequential(
            _Layer(width, width, norm, stride=2, relu=False), nn.AvgPool2d(3, stride=2, padding=1)
        )
        self.meaning_up = _Layer(width, width, norm, relu=False)
        self.both = _Layer(width, width, norm)

    def forward(self, detail: Tensor, meaning: Tensor) -> Tensor:
        size = detail.shape[2:]
        upper = self.detail_same(detail) * torch.sigmoid(resized(self.meaning_up(meaning), size))
        lower = self.detail_down(detail) * torch.sigmoid(self.meaning_same(meaning))
        found: Tensor = self.both(upper + resized(lower, size))
        return found


def _head(inputs: int, inner: int, classes: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(_Layer(inputs, inner, norm), nn.Conv2d(inner, classes, 1))
