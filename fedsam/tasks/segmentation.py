"""Segmentation: one of L classes for each pixel, where it has a label.

Shapes: N examples, L classes, H height, W width, K pixels of an example that are learnt from at most.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.data.masks import unlabelled
from fedsam.errors import InputError
from fedsam.tasks.base import Task, Weight
from fedsam.tasks.mask_metrics import MeanIoU, PerClassIoU, PixelAccuracy, PixelConfusion
from fedsam.tasks.metric import Metric

if TYPE_CHECKING:
    from fedsam.data.spec import Spec


class Segmentation(Task):
    """Softmax cross entropy of the logits z of each labelled pixel, with weights c of the classes:

    l_n = Σ_hw c_y (log Σ_l exp z_l − z_y),   w_n = Σ_hw c_y,   over the labelled pixels of example n

    so that a batch's loss is the mean over its labelled pixels, as `torch.nn.functional.cross_entropy` with `weight`
    and `ignore_index` has it. With `hardest` q below 1 only the ⌈q · labelled⌉ pixels of each image with the largest
    losses count in both sums. A stored target that is no class is a pixel without label (`fedsam.data.masks`).

    FedDrive's code (Erosinho13/FedDrive, `HardNegativeMining`) keeps a quarter of all pixels of an image, also of those
    without a label, whose loss is 0 there, and divides by their number.

    The loss of evaluation and of what is measured of the loss (Hessian, sharpness) is this one, too.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"classes", "masks"})
    metrics: ClassVar[tuple[Metric, ...]] = (MeanIoU(), PixelAccuracy(), PerClassIoU(), PixelConfusion())
    loss_unit: ClassVar[str] = "nats"

    hardest: float = key(
        1.0,
        "share of each image's labelled pixels that is learnt from, those with the largest losses; 1 = all",
        "off; Shrivastava et al. 2016; 0.25 in FedDrive's code (Fantauzzo et al. 2022), of all pixels",
        gt=0.0,
        le=1.0,
    )
    class_weights: str = key("", "weights of the classes, separated by commas; empty = all alike", "off")
    background: int | None = key(
        0,
        "class that an image is not told by as long as it shows another, where data are divided by class; none = no"
        " class is set aside",
        "class 0 in PASCAL VOC",
        ge=0,
    )

    def model_post_init(self, context: object) -> None:
        """Refuse weights that are none."""
        super().model_post_init(context)
        if not all(math.isfinite(weight) and weight >= 0 for weight in self._weights):
            raise InputError("class_weights", self.class_weights, "must be numbers from 0 on, separated by commas")

    @property
    def _weights(self) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in self.class_weights.split(",")) if self.class_weights.strip() else ()
        except ValueError:
            return (math.nan,)

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """(L, H, W)."""
        if not spec.masks or spec.classes is None:
            raise InputError("name", self.name, "needs masks of classes (Spec.target_shape = (H, W))")
        if len(spec.shape) == 3 and spec.target_shape != spec.shape[:2]:
            masks, images = ("×".join(map(str, shape)) for shape in (spec.target_shape, spec.shape[:2]))
            raise InputError("name", self.name, f"has masks of {masks} pixels on images of {images}; make them alike")
        if self._weights and len(self._weights) != spec.classes:
            told = f"has {len(self._weights)} numbers, and the data {spec.classes} classes"
            raise InputError("class_weights", self.class_weights, told)
        return (spec.classes, *spec.target_shape)

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """Of each example the sum over its pixels, [N], and of their weights, [N]."""
        labelled_NHW = targets < outputs.shape[1]
        at_N1HW = torch.where(labelled_NHW, targets, 0).long()[:, None]
        # see `Classification.losses` for why not torch's own
        losses_NHW = -torch.log_softmax(outputs, dim=1).gather(1, at_N1HW).squeeze(1)
        if self._weights:
            table_L = _table(self._weights, outputs.device, outputs.dtype)
            weight_NHW = torch.where(labelled_NHW, table_L[at_N1HW.squeeze(1)], 0.0)
            losses_NHW = losses_NHW * weight_NHW
        else:
            weight_NHW = labelled_NHW.to(outputs.dtype)
        if self.hardest < 1:
            return self._hardest(losses_NHW, weight_NHW, labelled_NHW)
        return torch.where(labelled_NHW, losses_NHW, 0.0).sum(dim=(1, 2)), weight_NHW.sum(dim=(1, 2))

    def _hardest(self, losses_NHW: Tensor, weight_NHW: Tensor, labelled_NHW: Tensor) -> tuple[Tensor, Weight]:
        """The sums over the hardest share of each example's labelled pixels."""
        ranked = torch.where(labelled_NHW, losses_NHW, -1.0).flatten(1)  # no loss is below 0
        most = math.ceil(self.hardest * ranked.shape[1])
        hard_NK, place_NK = ranked.topk(most, dim=1)
        number_N = (self.hardest * labelled_NHW.sum(dim=(1, 2)).double() - 1e-9).ceil()
        kept_NK = torch.arange(most, device=ranked.device) < number_N[:, None]
        weight_NK = weight_NHW.flatten(1).gather(1, place_NK)
        return torch.where(kept_NK, hard_NK, 0.0).sum(dim=1), torch.where(kept_NK, weight_NK, 0.0).sum(dim=1)

    def strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The class with the most pixels in each image, `background` aside as long as there is another; 0 for an image
        without labels; int64 [N].
        """
        without, found = unlabelled(targets.dtype), np.zeros(len(targets), dtype=np.int64)
        for n, mask in enumerate(targets):
            counts = np.bincount(mask[mask != without])
            if self.background is not None and self.background < len(counts) and counts.sum() > counts[self.background]:
                counts[self.background] = 0
            found[n] = counts.argmax() if len(counts) else 0
        return found


@lru_cache(maxsize=16)
def _table(weights: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The weights of the classes, [L]; kept, since to copy them to a GPU would wait for it in every step."""
    return torch.tensor(weights, device=device, dtype=dtype)
