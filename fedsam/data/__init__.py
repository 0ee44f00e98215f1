"""Data sets, their partition among clients, the batching plan and augmentation. One data set, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.data.breast_cancer import BreastCancer
    from fedsam.data.cifar10 import CIFAR10
    from fedsam.data.cifar100 import CIFAR100
    from fedsam.data.diabetes import Diabetes
    from fedsam.data.digits import Digits
    from fedsam.data.fashion_mnist import FashionMNIST
    from fedsam.data.imagefolder import ImageFolder
    from fedsam.data.mnist import MNIST
    from fedsam.data.parquet import Parquet
    from fedsam.data.svhn import SVHN
    from fedsam.data.synthetic import Synthetic

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "SVHN",
    "BreastCancer",
    "Diabetes",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Parquet",
    "Synthetic",
]
__getattr__ = short("fedsam.data")
