"""The gradient of a multilayer perceptron, of one client or a block of clients, derived by hand.

Shapes: K clients of a block, B batch, P parameters, D inputs of a layer, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fedsam.engine.kernels.base import Head
from fedsam.engine.kernels.match import untouched
from fedsam.models.functional import Network
from fedsam.params import Layout


@dataclass(frozen=True)
class Perceptron:
    """Backpropagation through linear layers with ReLU between them.

    With h_0 the inputs, z_i = h_(i-1) W_i^T + b_i, h_i = relu(z_i), and d_n = dL/dz_n of the head:

        d_(i-1) = (d_i W_i) 1[h_(i-1) > 0]
        dL/dW_i = d_i^T h_(i-1),   dL/db_i = Σ_B d_i

    each as one matrix product, of a block batched over its clients (Rumelhart et al., Nature 323, 1986). It is what
    autograd would do, without its bookkeeping, which takes longer than the arithmetic of small models.

    Args:
        layout: of the parameters, W_1, b_1, W_2, ...
    """

    name: ClassVar[str] = "derived by hand for perceptrons"
    batched: ClassVar[bool] = True

    layout: Layout

    @classmethod
    def match(cls, network: Network, device: torch.device, precision: str) -> Perceptron | None:
        """For such networks: flatten, then linear layers with biases and ReLU in turn; not in bfloat16."""
        module, layout = network.module, network.layout
        if precision == "bf16" or type(module) is not nn.Sequential or not untouched(module):
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

    def takes(self, theta: Tensor, head: Head) -> bool:
        """One client and blocks of clients."""
        return True

    def gradient(self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor) -> tuple[Tensor, ...]:
        """(∇L, L) of a client's batch, [P] and [], of inputs [B, ...]; of a block [K, P] and [K], of [K, B, ...]."""
        return self._block(theta, inputs, head) if head.block else self._one(theta, inputs, head)

    def _one(self, theta_P: Tensor, inputs: Tensor, head: Head) -> tuple[Tensor, Tensor]:
        sizes, shapes = self.layout.sizes, self.layout.shapes
        pieces, out_P = torch.split(theta_P, sizes), torch.empty_like(theta_P)
        outs = torch.split(out_P, sizes)
        weights = [piece.view(shape) for piece, shape in zip(pieces[::2], shapes[::2], strict=True)]
        hidden = [inputs.flatten(1)]
        for weight_UD, bias_U in zip(weights, pieces[1::2], strict=True):
            before = hidden[-1] if len(hidden) == 1 else hidden[-1].relu_()
            hidden.append(torch.addmm(bias_U, before, weight_UD.t()))
        loss, d = head(hidden.pop())
        for i in reversed(range(len(weights))):
            torch.sum(d, dim=0, out=outs[2 * i + 1])
            torch.mm(d.t(), hidden[i], out=outs[2 * i].view(shapes[2 * i]))
            if i:
                d = torch.ops.aten.threshold_backward(torch.mm(d, weights[i]), hidden[i], 0)  # of ReLU
        return out_P, loss

    def _block(self, theta: Tensor, inputs: Tensor, head: Head) -> tuple[Tensor, Tensor]:
        weights, biases, out, outs = *self._cut(theta), *self._new(theta)
        hidden = self._forward(weights, biases, inputs.flatten(2))
        loss_K, d = head(hidden.pop())
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
