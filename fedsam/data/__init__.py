"""Data sets, their partition among clients, the batching plan and augmentation. One data set, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.data.breast_cancer import BreastCancer
    from fedsam.data.cifar10 import CIFAR10
    from fedsam.data.cifar100 import CIFAR100
    from fedsam.data.cityscapes import Cityscapes
    from fedsam.data.diabetes import Diabetes
    from fedsam.data.digits import Digits
    from fedsam.data.fashion_mnist import FashionMNIST
    from fedsam.data.idda import Idda
    from fedsam.data.image_table import ImageTable
    from fedsam.data.imagefolder import ImageFolder
    from fedsam.data.landmarks import Landmarks
    from fedsam.data.leaf import Leaf
    from fedsam.data.mnist import MNIST
    from fedsam.data.npz import Npz
    from fedsam.data.parquet import Parquet
    from fedsam.data.pydoc import Pydoc
    from fedsam.data.saved import Saved
    from fedsam.data.shapes import Shapes
    from fedsam.data.svhn import SVHN
    from fedsam.data.synthetic import Synthetic
    from fedsam.data.table import Table
    from fedsam.data.text import Text

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "SVHN",
    "BreastCancer",
    "Cityscapes",
    "Diabetes",
    "Digits",
    "FashionMNIST",
    "Idda",
    "ImageFolder",
    "ImageTable",
    "Landmarks",
    "Leaf",
    "Npz",
    "Parquet",
    "Pydoc",
    "Saved",
    "Shapes",
    "Synthetic",
    "Table",
    "Text",
]
__getattr__ = short("fedsam.data")
