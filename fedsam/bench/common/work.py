"""A round of federated training in words that every framework understands, and random images for it.

Shapes: N examples, C channels, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedsam.config import find, key
from fedsam.data.augment.base import Augment
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.engine.auto import Auto
from fedsam.engine.base import Precision
from fedsam.models.base import Model
from fedsam.optim.base import ClientOptimizer
from fedsam.rng import stream
from fedsam.run import Run

CLASSES = 10
MEAN, STD = 0.5, 0.25


class Noise(Dataset):
    """Random bytes, alike for all clients: the time of a round does not depend on what the images show."""

    samples: int = key(500, "images of each client", "Caldarola et al. 2022, CIFAR-10", ge=1)
    size: int = key(32, "height and width of an image", "CIFAR-10", ge=1)
    channels: int = key(3, "channels of an image", "CIFAR-10", ge=1)

    def load(self, seed: int) -> Federation:
        """All images of all clients."""
        parts = [self.of(seed, client) for client in range(self.clients)]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return NoiseFederation(Split(images, labels), self.clients, self.samples)

    def of(self, seed: int, client: int) -> tuple[np.ndarray, np.ndarray]:
        """One client's images, uint8 [N, H, W, C], and labels: they need no other client's."""
        rng = stream(seed, "bench", client=client)
        shape = self.samples, self.size, self.size, self.channels
        return rng.integers(256, size=shape, dtype=np.uint8), rng.integers(CLASSES, size=self.samples)


class NoiseFederation(Federation):
    """Client k has the k-th `samples` images."""

    def __init__(self, train: Split, clients: int, samples: int) -> None:
        height, width, channels = train.inputs.shape[1:]
        self.spec = ImageSpec(CLASSES, (height, width, channels), (MEAN,) * channels, (STD,) * channels)
        self.clients, self.samples, self.train = clients, samples, train
        self.test = Split(train.inputs[:64], train.targets[:64])

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """The same for all."""
        return np.full(len(ids), self.samples)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All images, whoever is asked for."""
        return self.train, [np.arange(k * self.samples, (k + 1) * self.samples) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """None are held out."""
        return self.test, [np.empty(0, dtype=np.int64) for _ in ids]


@dataclass(frozen=True)
class Work:
    """One round: `cohort` of `clients` clients train one epoch of `samples` images in batches.

    Args:
        model: its keys, as in `model.name`.
        size, channels: of the images.
        lr: of plain SGD.
        decay: weight decay.
    """

    model: dict[str, Any] = field(default_factory=lambda: {"name": "cnn"})
    clients: int = 100
    samples: int = 500
    cohort: int = 5
    batch: int = 64
    size: int = 32
    channels: int = 3
    lr: float = 0.01
    decay: float = 0.0

    @property
    def steps(self) -> int:
        """Of each client in a round."""
        return -(-self.samples // self.batch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image, H, W, C."""
        return self.size, self.size, self.channels

    @property
    def local(self) -> dict[str, Any]:
        """The keys of a base optimiser."""
        return {"lr": self.lr, "weight_decay": self.decay, "batch_size": self.batch, "epochs": 1}

    def run(self, client: ClientOptimizer, precision: Precision, augment: Augment | None = None) -> Run:
        """The same as a run that never ends.

        Args:
            augment: of the training batches; None = none.
        """
        data = self.noise() if augment is None else self.noise().replace(augment=augment)
        engine = Auto(precision=precision)
        model: Any = self.model
        return Run(data=data, model=model, client=client, cohort=self.cohort, rounds=10**6, engine=engine)

    def noise(self) -> Noise:
        """The images."""
        return Noise(clients=self.clients, samples=self.samples, size=self.size, channels=self.channels)

    def module(self) -> nn.Module:
        """The model, with its keyed initial weights."""
        keys = dict(self.model)
        model: Model = find(Model, keys.pop("name"))(**keys)
        return model.module(self.shape, CLASSES, 0)

    def tensors(self, client: int) -> tuple[Tensor, Tensor]:
        """One client's images as a stock framework holds them: normalised beforehand, float32 [N, C, H, W]; labels."""
        images, labels = self.noise().of(0, client)
        inputs = (torch.from_numpy(images).float() / 255 - MEAN) / STD
        return inputs.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)

    def text(self) -> str:
        """The work in a line, for another process; `Work.of_text` of it is this work."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Work:
        """The work that a line describes."""
        return cls(**json.loads(text))
