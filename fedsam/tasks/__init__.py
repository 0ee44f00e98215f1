"""What is learnt and how it is scored. One task, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.tasks.auto import Auto
    from fedsam.tasks.classification import Classification
    from fedsam.tasks.multilabel import Multilabel
    from fedsam.tasks.regression import Regression
    from fedsam.tasks.segmentation import Segmentation
    from fedsam.tasks.sequence import Sequence

__all__ = [
    "Auto",
    "Classification",
    "Multilabel",
    "Regression",
    "Segmentation",
    "Sequence",
]
__getattr__ = short("fedsam.tasks")
