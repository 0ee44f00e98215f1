"""Convolutional networks with a gradient of their own, and others that have none."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

from fedsam.models.cnn import CNN
from tests.support.kernels import seed_weights

CLASSES = 7


def head(numbers: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(numbers, CLASSES)]


NETWORKS: dict[str, tuple[nn.Module, tuple[int, int, int]]] = {
    "the paper's": (CNN().build((32, 32, 3), CLASSES), (3, 32, 32)),
    "the paper's, narrow, grey": (CNN(channels=4).build((28, 28, 1), CLASSES), (1, 28, 28)),
    "relu before pooling": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), *head(36)),
        (3, 8, 8),
    ),
    "no pooling, padding": (
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, (3, 2), padding=(0, 1)), *head(90)),
        (2, 7, 5),
    ),
    "padding and pooling": (
        nn.Sequential(nn.Conv2d(16, 16, 5, padding=(2, 1)), nn.MaxPool2d(2), nn.ReLU(), *head(480)),
        (16, 12, 12),
    ),
    "odd sides": (nn.Sequential(nn.Conv2d(3, 4, 4), nn.MaxPool2d(2), nn.ReLU(), *head(24)), (3, 10, 8)),
    "fourier, odd sides, no pooling": (
        nn.Sequential(nn.Conv2d(40, 40, 6), nn.ReLU(), nn.Conv2d(40, 40, 5), nn.MaxPool2d(2), *head(40 * 9)),
        (40, 16, 16),
    ),
    "hidden layers": (
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(18, 5), nn.ReLU(), nn.Linear(5, CLASSES)),
        (1, 4, 4),
    ),
}
seed_weights(module for module, _ in NETWORKS.values())


class Own(nn.Conv2d):
    """Another kind of layer."""


def tied() -> nn.Module:
    shared = nn.Linear(CLASSES, CLASSES)
    return nn.Sequential(nn.Conv2d(1, 1, 2), nn.Flatten(), nn.Linear(9, CLASSES), shared, shared)


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 1, 2), *head(9))
    module[0].register_forward_hook(lambda *_: None)
    return module


def constant() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 1, 2), *head(9))
    module[0].bias.requires_grad_(False)  # type: ignore[union-attr]
    return module


def louder() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 1, 2), *head(9))
    module[0].forward = lambda x: 2 * nn.Conv2d.forward(module[0], x)  # type: ignore[arg-type, operator]
    return module


def shared_weight() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 1, 2), nn.Conv2d(1, 1, 2), *head(4))
    module[1].weight = module[0].weight
    return module


OTHERS: dict[str, nn.Module] = {
    "no convolution": nn.Sequential(*head(16)),
    "no head": nn.Sequential(nn.Conv2d(1, CLASSES, 4), nn.Flatten()),
    "relu of logits": nn.Sequential(nn.Conv2d(1, 1, 2), *head(9), nn.ReLU()),
    "stride": nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), *head(4)),
    "dilation": nn.Sequential(nn.Conv2d(1, 1, 2, dilation=2), *head(4)),
    "groups": nn.Sequential(nn.Conv2d(2, 2, 2, groups=2), *head(18)),
    "circular": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), *head(16)),
    "padding by name": nn.Sequential(nn.Conv2d(1, 1, 3, padding="same"), *head(16)),
    "no bias": nn.Sequential(nn.Conv2d(1, 1, 2, bias=False), *head(9)),
    "larger windows": nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(3), *head(1)),
    "overlapping windows": nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, stride=1), *head(4)),
    "padded windows": nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, padding=1), *head(4)),
    "rounding up": nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, ceil_mode=True), *head(4)),
    "pooling twice": nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.MaxPool2d(2), *head(1)),
    "other activation": nn.Sequential(nn.Conv2d(1, 1, 2), nn.Tanh(), *head(9)),
    "other flattening": nn.Sequential(nn.Conv2d(1, 1, 2), nn.Flatten(2), nn.Flatten(), nn.Linear(9, CLASSES)),
    "own layer": nn.Sequential(Own(1, 1, 2), *head(9)),
    "no sequence": nn.Conv2d(1, 1, 2),
    "one layer twice": tied(),
    "a hook": hooked(),
    "a constant": constant(),
    "another forward": louder(),
    "one weight in two layers": shared_weight(),
    "a weight made of others": nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 1, 2)), *head(9)),
    "one number for both paddings": nn.Sequential(nn.Conv2d(1, 1, 3, padding=(1,)), *head(16)),
    "a sequence in a sequence": nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU()), *head(9)),
}
