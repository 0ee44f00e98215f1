"""Partitions: pure functions of labels and a key that divide a data set among clients. One partition, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.data.partition.dirichlet import Dirichlet
    from fedsam.data.partition.dirichlet_class import DirichletClass
    from fedsam.data.partition.file import File
    from fedsam.data.partition.grouped import Grouped
    from fedsam.data.partition.iid import IID
    from fedsam.data.partition.natural import Natural
    from fedsam.data.partition.quantity import Quantity
    from fedsam.data.partition.shards import Shards
    from fedsam.data.partition.within_groups import WithinGroups

__all__ = [
    "IID",
    "Dirichlet",
    "DirichletClass",
    "File",
    "Grouped",
    "Natural",
    "Quantity",
    "Shards",
    "WithinGroups",
]
__getattr__ = short("fedsam.data.partition")
