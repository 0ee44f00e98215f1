"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from fedsam.config import key
from fedsam.models.base import Model


class MLP(Model):
    """Flatten, `depth` hidden layers of `width` with ReLU, logits. `depth` 0 is multinomial logistic regression.

    The "2NN" of McMahan et al., AISTATS 2017, is `depth` 2, `width` 200.
    """

    width: int = key(64, "units of each hidden layer", "the digits demonstration", ge=1, le=2**24)
    depth: int = key(1, "hidden layers", "the digits demonstration", ge=0, le=1000)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """H·W·C - `width` - ... - `width` - L."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        inputs = math.prod(shape)
        for i in range(1, self.depth + 1):
            layers[f"fc{i}"] = nn.Linear(inputs, self.width)
            layers[f"relu{i}"] = nn.ReLU()
            inputs = self.width
        layers["out"] = nn.Linear(inputs, classes)
        return nn.Sequential(layers)
