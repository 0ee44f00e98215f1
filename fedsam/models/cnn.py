"""The convolutional network of the FedSAM paper."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.base import Model


class CNN(Model):
    """Two convolutions 5×5, each with max pooling 2×2 and ReLU, then two hidden layers; no padding, no normalisation.

    A network like LeNet-5; Caldarola et al., ECCV 2022, after Hsu et al., ECCV 2020. On images 32×32×3 the fully
    connected part is 1600-384-192-L: 797,962 parameters for 10 classes, 815,332 for 100. ReLU comes after the pooling,
    where a quarter of the numbers is left: max and ReLU commute, so the function is the same.
    """

    requires = frozenset({"images"})

    channels: int = key(64, "channels of each convolution", "Caldarola et al. 2022", ge=1, le=2**16)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module.

        Raises:
            InputError: an image is smaller than 16×16, so that nothing would be left of it.
        """
        height, width, channels = shape
        if min(height, width) < 16:
            raise InputError(
                "name",
                self.name,
                f"needs images of at least 16×16, these are {height}×{width}; use mlp, resnet20 or resnet18",
            )
        left_h, left_w = (((side - 4) // 2 - 4) // 2 for side in (height, width))
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, self.channels, 5),
                pool1=nn.MaxPool2d(2),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(self.channels, self.channels, 5),
                pool2=nn.MaxPool2d(2),
                relu2=nn.ReLU(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(self.channels * left_h * left_w, 384),
                relu3=nn.ReLU(),
                fc2=nn.Linear(384, 192),
                relu4=nn.ReLU(),
                out=nn.Linear(192, classes),
            )
        )
