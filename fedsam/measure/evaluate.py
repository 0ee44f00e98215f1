"""Loss and accuracy of a flat parameter vector on a split that lies on the device.

Shapes: N examples, P parameters, S numbers of statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.attack.base import Attack
from fedsam.engine.context import DeviceSplit, RunContext

BATCH = 512  # fixed: another batch could round otherwise


def evaluate(context: RunContext, theta_P: Tensor, store: DeviceSplit, *statistics: Tensor) -> tuple[float, float]:
    """Mean cross entropy and share of correct predictions over the whole split, in full precision (no autocast).

    Args:
        statistics: of a model with batch normalisation, [S].
    """
    total = torch.zeros((), dtype=torch.float64, device=context.device)
    correct = torch.zeros((), dtype=torch.int64, device=context.device)
    examples = len(store.targets)
    with torch.no_grad():
        for begin in range(0, examples, BATCH):
            labels_B = store.targets[begin : begin + BATCH]
            logits_BL = context.logits(theta_P, context.prepare(store.inputs[begin : begin + BATCH]), *statistics)
            total += F.cross_entropy(logits_BL, labels_B, reduction="sum")
            correct += (logits_BL.argmax(dim=1) == labels_B).sum()
    return float(total) / examples, int(correct) / examples


def per_example(context: RunContext, theta_P: Tensor, store: DeviceSplit, *statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of each example, and whether it is predicted correctly, in full precision; both [N].

    Args:
        statistics: of a model with batch normalisation, [S].
    """
    losses, right = [], []
    with torch.no_grad():
        for begin in range(0, len(store.targets), BATCH):
            labels_B = store.targets[begin : begin + BATCH]
            logits_BL = context.logits(theta_P, context.prepare(store.inputs[begin : begin + BATCH]), *statistics)
            losses.append(F.cross_entropy(logits_BL, labels_B, reduction="none"))
            right.append(logits_BL.argmax(dim=1) == labels_B)
    return torch.cat(losses), torch.cat(right)


def robust_accuracy(
    context: RunContext, theta_P: Tensor, store: DeviceSplit, attack: Attack, *statistics: Tensor
) -> float:
    """Share of correct predictions on images that were changed by an attack on this model, each from the image itself;
    in full precision.

    Args:
        statistics: of a model with batch normalisation, [S].
    """
    correct = torch.zeros((), dtype=torch.int64, device=context.device)
    for begin in range(0, len(store.targets), BATCH):
        labels_B = store.targets[begin : begin + BATCH]

        def gradient(inputs_BCHW: Tensor, labels_B: Tensor = labels_B) -> Tensor:
            with torch.enable_grad():
                leaf = inputs_BCHW.detach().requires_grad_()
                loss = F.cross_entropy(context.logits(theta_P, leaf, *statistics), labels_B, reduction="sum")
                if not loss.requires_grad:  # a model that looks at no pixel
                    return torch.zeros_like(leaf)
                return torch.autograd.grad(loss, leaf, allow_unused=True, materialize_grads=True)[0]

        inputs_BCHW = context.prepare(store.inputs[begin : begin + BATCH])
        changed_BCHW = attack.changed(inputs_BCHW, context.prepare.mean_C, context.prepare.std_C, gradient)
        with torch.no_grad():
            correct += (context.logits(theta_P, changed_BCHW, *statistics).argmax(dim=1) == labels_B).sum()
    return int(correct) / len(store.targets)
