"""The gradient of a multilayer perceptron for a block of clients, written out.

Shapes: K clients of a block, B batch, P parameters, D inputs of a layer, U units, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from fedsam.params import Layout

CALLED = "forward", "_call_impl", "_conv_forward"
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


@dataclass(frozen=True)
class Dense:
    """Backpropagation through linear layers with ReLU between them, and the softmax cross entropy.

    With h_0 the inputs and z_i = h_(i-1) W_i^T + b_i, h_i = relu(z_i), p = softmax(z_n), and batch means over the
    valid samples:

        d_n = (p Σ_l y_l - y) / count,   d_(i-1) = (d_i W_i) 1[h_(i-1) > 0]
        dL/dW_i = d_i^T h_(i-1),   dL/db_i = Σ_B d_i

    each as one batched matrix product over the clients (Rumelhart et al., Nature 323, 1986). It is what autograd would
    do, without its bookkeeping, which takes longer than the arithmetic of small models.

    Args:
        layout: of the parameters, W_1, b_1, W_2, ...
    """

    layout: Layout

    @classmethod
    def of(cls, module: nn.Module, layout: Layout) -> Dense | None:
        """For this module, if it is such a network: flatten, then linear layers with biases and ReLU in turn."""
        if type(module) is not nn.Sequential or not untouched(module):
            return None
        layers = list(module)
        kinds = [nn.Flatten, *([nn.Linear, nn.ReLU] * len(layers))][: len(layers)]
        if [type(layer) for layer in layers] != kinds or len(layers) % 2:
            return None
        flatten: Any = layers[0]
        names = [f"{name}.{kind}" for name, _ in list(module.named_children())[1::2] for kind in ("weight", "bias")]
        if tuple(names) != layout.names or (flatten.start_dim, flatten.end_dim) != (1, -1):
            return None  # without a bias, with one weight in two layers, or with a constant
        return cls(layout)

    def gradient(
        self, theta_KP: Tensor, inputs: Tensor, targets: Tensor, count: Tensor | float, valid_KB: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(∇L, L) of each client's batch, [K, P] and [K].

        Args:
            inputs: [K, B, ...].
            targets: class indices [K, B] or probabilities [K, B, L].
            count: valid samples of each client, [K] or one number.
            valid_KB: which samples are valid; None = all.
        """
        weights, biases, out, outs = *self._cut(theta_KP), *self._new(theta_KP)
        hidden = self._forward(weights, biases, inputs.flatten(2))
        logits_KBL = hidden.pop()
        loss_K, d = mean_cross_entropy(logits_KBL, targets, count, valid_KB)
        for i in reversed(range(len(weights))):
            dW_KUD, db_KU = outs[2 * i], outs[2 * i + 1]
            torch.sum(d, dim=1, out=db_KU)
            dW_KUD.view(weights[i].shape).copy_(torch.bmm(d.transpose(1, 2), hidden[i]))
            if i:
                d = torch.ops.aten.threshold_backward(torch.bmm(d, weights[i]), hidden[i], 0)  # of ReLU
        return out, loss_K

    def _cut(self, theta_KP: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        shapes = self.layout.shapes
        pieces = torch.split(theta_KP, self.layout.sizes, dim=1)
        weights = [piece.view(len(piece), *shape) for piece, shape in zip(pieces[::2], shapes[::2], strict=True)]
        return weights, [piece[:, None] for piece in pieces[1::2]]

    def _new(self, theta_KP: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        out_KP = torch.empty(theta_KP.shape, dtype=theta_KP.dtype, device=theta_KP.device)
        return out_KP, torch.split(out_KP, self.layout.sizes, dim=1)

    @staticmethod
    def _forward(weights: list[Tensor], biases: list[Tensor], inputs_KBD: Tensor) -> list[Tensor]:
        """The inputs of every layer, and what the last one gives."""
        hidden = [inputs_KBD]
        for weight_KUD, bias_K1U in zip(weights, biases, strict=True):
            before = hidden[-1] if len(hidden) == 1 else hidden[-1].relu_()
            hidden.append(torch.bmm(before, weight_KUD.transpose(1, 2)).add_(bias_K1U))  # baddbmm copies the bias first
        return hidden


def untouched(module: nn.Module) -> bool:
    """Whether its parts compute what their classes say: they have no hooks, and nobody put another `forward` in one or
    in its class.
    """
    parts = list(module.modules())
    hooked = any(getattr(part, hooks) for part in parts for hooks in HOOKS)
    changed = any(not vars(part).keys().isdisjoint(CALLED) for part in parts)
    theirs = all(type(part).forward.__module__ == type(part).__module__ for part in parts)
    everywhere = _has_any_global_hook()  # type: ignore[no-untyped-call]
    return theirs and not changed and not hooked and not everywhere


def mean_cross_entropy(
    logits_KBL: Tensor, targets: Tensor, count: Tensor | float, valid_KB: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Each client's mean loss over its valid samples, [K], and its derivative by the logits, [K, B, L].

    Args:
        targets: class indices [K, B] or probabilities [K, B, L].
        count: valid samples of each client, [K] or one number.
        valid_KB: which samples are valid; None = all.
    """
    count = logits_KBL.shape[1] if valid_KB is None else count
    losses_KB, d_KBL = cross_entropy(logits_KBL, targets)
    if valid_KB is not None:
        losses_KB = torch.where(valid_KB, losses_KB, 0.0)
        d_KBL = torch.where(valid_KB[:, :, None], d_KBL, 0.0)
    d_KBL = d_KBL.div_(count[:, None, None] if isinstance(count, Tensor) else count)
    return losses_KB.sum(dim=1) / count, d_KBL


def cross_entropy(logits_KBL: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's loss, [K, B], and its derivative by the logits, [K, B, L].

    Args:
        targets: class indices [K, B] or probabilities [K, B, L].
    """
    log_p_KBL = logits_KBL - logits_KBL.logsumexp(dim=2, keepdim=True)  # log_softmax is slow on few classes
    if targets.is_floating_point():
        losses_KB = -(targets * log_p_KBL).sum(dim=2)
        return losses_KB, log_p_KBL.exp() * targets.sum(dim=2, keepdim=True) - targets
    at_KB1 = targets[:, :, None]
    losses_KB = -log_p_KBL.gather(2, at_KB1).squeeze(2)
    p_KBL = log_p_KBL.exp()
    return losses_KB, p_KBL.scatter_add_(2, at_KB1, p_KBL.new_full((1, 1, 1), -1.0).expand_as(at_KB1))
