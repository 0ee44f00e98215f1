"""Loss and metrics of segmentation against torch, scikit-learn, torchmetrics and sums by hand.

Shapes: N examples, L classes, H height, W width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.data.images.spec import ImageSpec
from fedsam.data.spec import Spec
from fedsam.engine.kernels.base import Head
from fedsam.errors import InputError
from fedsam.tasks.base import Metric, Task
from fedsam.tasks.mask_metrics import MeanIoU, PerClassIoU, PixelAccuracy, PixelConfusion
from fedsam.tasks.segmentation import Segmentation

N, L, H, W = 23, 6, 9, 7
RNG = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(N, L, H, W, generator=RNG, dtype=torch.float64)
LOGITS[:, L - 1] -= 50  # nowhere predicted, and
MASKS = torch.randint(L - 1, (N, H, W), generator=RNG).to(torch.uint8)  # nowhere a target
MASKS[torch.rand(N, H, W, generator=RNG) < 0.2] = 255
MASKS[3] = 255  # an image without any label
LABELLED = MASKS != 255
TRUE, PREDICTED = MASKS[LABELLED].numpy(), LOGITS.argmax(dim=1)[LABELLED].numpy()


def value(metric: Metric, sizes: tuple[int, ...] = (N,)) -> Any:
    """Of all examples, added up over batches of these sizes."""
    batches = zip(LOGITS.split(sizes), MASKS.split(sizes), strict=True)
    return metric.value(sum(metric.total(outputs, targets) for outputs, targets in batches).numpy())  # type: ignore[union-attr]


def test_metrics_are_scikit_learns() -> None:
    each = reference.jaccard_score(TRUE, PREDICTED, labels=range(L - 1), average=None)
    *found, nowhere = value(PerClassIoU())
    assert found == pytest.approx(each.tolist(), rel=1e-12)
    assert nowhere is None
    assert value(MeanIoU()) == pytest.approx(each.mean(), rel=1e-12)
    assert value(PixelAccuracy()) == reference.accuracy_score(TRUE, PREDICTED)
    assert value(PixelConfusion()) == reference.confusion_matrix(TRUE, PREDICTED, labels=range(L)).tolist()


def test_mean_iou_is_torchmetrics() -> None:
    jaccard = pytest.importorskip("torchmetrics.classification").MulticlassJaccardIndex
    theirs = jaccard(num_classes=L, average="macro", ignore_index=255)
    for outputs, targets in zip(LOGITS.split((5, 11, 7)), MASKS.split((5, 11, 7)), strict=True):
        theirs.update(outputs, targets.long())
    assert value(MeanIoU(), (7, 1, 15)) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("metric", Segmentation.metrics, ids=lambda metric: metric.name)
def test_metrics_add_up_over_ragged_batches_and_examples(metric: Metric) -> None:
    assert value(metric, (1, 9, 13)) == value(metric)
    torch.testing.assert_close(metric.statistics(LOGITS, MASKS).sum(dim=0), metric.total(LOGITS, MASKS), rtol=0, atol=0)
    alone = torch.cat([metric.statistics(LOGITS[n : n + 1], MASKS[n : n + 1]) for n in range(N)])
    assert torch.equal(metric.statistics(LOGITS, MASKS), alone)


def test_where_nothing_is_labelled_there_is_no_score() -> None:
    nothing = torch.full_like(MASKS, 255)
    for metric in (MeanIoU(), PixelAccuracy()):
        assert np.isnan(metric.value(metric.total(LOGITS, nothing).numpy()))
    assert PerClassIoU().value(PerClassIoU().total(LOGITS, nothing).numpy()) == [None] * L


WEIGHTS = (1.0, 0.5, 2.0, 0.0, 3.0, 1.0)
TASKS: dict[str, Segmentation] = {
    "plain": Segmentation(),
    "weights": Segmentation(class_weights=", ".join(map(str, WEIGHTS))),
}


def mean(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    return Head(task, targets, float(len(targets))).loss(outputs)


@pytest.mark.parametrize("name", TASKS)
def test_the_mean_loss_of_a_batch_is_torchs_over_labelled_pixels(name: str) -> None:
    weight = torch.tensor(WEIGHTS, dtype=torch.float64) if name == "weights" else None
    leaf, other = (LOGITS.clone().requires_grad_() for _ in range(2))
    ours = mean(TASKS[name], leaf, MASKS)
    theirs = F.cross_entropy(other, MASKS.long(), weight, ignore_index=255)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    one, another = (torch.autograd.grad(loss, at)[0] for loss, at in ((ours, leaf), (theirs, other)))
    torch.testing.assert_close(one, another, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_mining_keeps_the_hardest_pixels_of_each_image(share: float, weighted: bool) -> None:
    task = Segmentation(hardest=share, class_weights=TASKS["weights"].class_weights if weighted else "")
    losses, weight = task.losses(LOGITS, MASKS)
    assert isinstance(weight, Tensor)
    table = torch.tensor(WEIGHTS, dtype=torch.float64) if weighted else torch.ones(L, dtype=torch.float64)
    each = F.cross_entropy(LOGITS, MASKS.long(), ignore_index=255, reduction="none")
    for n in range(N):
        own = table[MASKS[n][LABELLED[n]].long()]
        pixels = sorted(zip((own * each[n][LABELLED[n]]).tolist(), own.tolist(), strict=True), reverse=True)
        kept = pixels[: -(-round(share * 100) * len(pixels) // 100)]
        assert float(losses[n]) == pytest.approx(sum(loss for loss, _ in kept), rel=1e-12)
        assert float(weight[n]) == pytest.approx(sum(weight for _, weight in kept), rel=1e-12)


@pytest.mark.parametrize("task", [*TASKS.values(), Segmentation(hardest=0.3)], ids=[*TASKS, "mining"])
def test_a_pixel_without_label_changes_nothing(task: Segmentation) -> None:
    other = LOGITS.clone()
    other[(~LABELLED)[:, None].expand_as(other)] = 7.0 * torch.randn(int((~LABELLED).sum()) * L, generator=RNG).double()
    results = []
    for logits in (LOGITS, other):
        leaf = logits.clone().requires_grad_()
        loss = mean(task, leaf, MASKS)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert not gradient[(~LABELLED)[:, None].expand_as(gradient)].any()
        results.append((loss.detach(), gradient))
    for one, another in zip(*results, strict=True):
        assert torch.equal(one, another)
    for metric in task.metrics:
        assert torch.equal(metric.total(LOGITS, MASKS), metric.total(other, MASKS))


@pytest.mark.parametrize("task", [*TASKS.values(), Segmentation(hardest=0.3)], ids=[*TASKS, "mining"])
def test_an_image_without_label_and_one_that_is_not_valid_change_nothing(task: Segmentation) -> None:
    others = torch.arange(N) != 3
    alone, weight = task.losses(LOGITS[others], MASKS[others])
    together, weights = task.losses(LOGITS, MASKS)
    assert isinstance(weight, Tensor)
    assert isinstance(weights, Tensor)
    assert torch.equal(together[others], alone)
    assert torch.equal(weights[others], weight)
    assert together[3] == weights[3] == 0
    valid = torch.arange(N) < 9
    short = Head(task, MASKS, torch.tensor(9.0), valid).loss(LOGITS)
    torch.testing.assert_close(short, mean(task, LOGITS[:9], MASKS[:9]), rtol=1e-14, atol=0)
    assert mean(task, LOGITS[3:4], MASKS[3:4]) == 0


@pytest.mark.parametrize("task", [*TASKS.values(), Segmentation(hardest=0.3)], ids=[*TASKS, "mining"])
def test_the_head_is_the_derivative_of_the_loss_also_of_a_block(task: Segmentation) -> None:
    losses, weight, derivative = task.head(LOGITS[:20], MASKS[:20])
    leaf = LOGITS[:20].clone().requires_grad_()
    torch.testing.assert_close(derivative, torch.autograd.grad(task.losses(leaf, MASKS[:20])[0].sum(), leaf)[0])
    block = task.head_of_block(LOGITS[:20].view(4, 5, L, H, W), MASKS[:20].view(4, 5, H, W))
    for one, other in zip(block, (losses, weight, derivative), strict=True):
        assert isinstance(one, Tensor)
        assert isinstance(other, Tensor)
        assert torch.equal(one.reshape(other.shape), other)


def test_an_image_is_told_by_what_it_shows_beside_the_background() -> None:
    masks = np.full((5, 4, 4), 255, np.uint8)
    masks[0], masks[0, 0, :3], masks[0, 1, 0] = 0, 2, 1  # most is background
    masks[1, 0, 0] = 0  # nothing but background
    masks[2, :2], masks[2, 2:] = 1, 3  # as much of the one as of the other
    masks[3, 0, :2], masks[3, 1, :3] = 4, 0
    assert Segmentation().strata(masks).tolist() == [2, 0, 1, 4, 0]  # type: ignore[union-attr]
    assert Segmentation(background=None).strata(masks).tolist() == [0, 0, 1, 0, 0]  # type: ignore[union-attr]
    wide = np.where(masks == 255, np.iinfo(np.int32).max, masks.astype(np.int32))
    assert Segmentation(background=2).strata(wide).tolist() == [0, 0, 1, 0, 0]  # type: ignore[union-attr]


def test_data_without_masks_are_refused() -> None:
    image = (8, 8, 3)
    spec = ImageSpec(5, image, (0.5,) * 3, (0.5,) * 3, target_shape=(8, 8))
    assert Segmentation().output_shape(spec) == (5, 8, 8)
    with pytest.raises(InputError, match="needs masks of classes"):
        Segmentation().output_shape(ImageSpec(5, image, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(InputError, match="needs masks of classes"):
        Segmentation().output_shape(Spec(None, image, target_shape=(8, 8)))
    with pytest.raises(InputError, match="has masks of 4×8 pixels on images of 8×8"):
        Segmentation().output_shape(ImageSpec(5, image, (0.5,) * 3, (0.5,) * 3, target_shape=(4, 8)))
    with pytest.raises(InputError, match="class_weights = 1,2: has 2 numbers, and the data 5 classes"):
        Segmentation(class_weights="1,2").output_shape(spec)
    for wrong in ("1,x", "1,-2", "nan", ","):
        with pytest.raises(InputError, match="must be numbers from 0 on, separated by commas"):
            Segmentation(class_weights=wrong)
