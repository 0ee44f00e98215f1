"""The CNN of pfl-research's published CIFAR-10 benchmark."""

from __future__ import annotations

from torch import nn

from fedsam.models.base import Model


class PflCNN(Model):
    """Two convolutions 3×3 (32 and 64 channels) with ReLU, max pooling 2×2, a hidden layer of 128, logits: 1,626,442
    parameters on images 32×32×3 and 10 classes.

    `simple_cnn` of apple/pfl-research, Granqvist et al., NeurIPS 2024, without its two layers of dropout, so that every
    framework and the loop by hand do the same arithmetic.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module, for square images."""
        left = (shape[0] - 4) // 2
        return nn.Sequential(
            nn.Conv2d(shape[2], 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(left * left * 64, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )
