"""Lion: Chen et al., NeurIPS 2023, algorithm 2, a number at a time.

c = β₁ m + (1 − β₁) g;  w ← w − η (sign(c) + λ w);  m ← β₂ m + (1 − β₂) g, from m = 0.
"""

from __future__ import annotations

from torch import Tensor, nn


class Lion:
    """Over a list of parameters, as torch's optimisers are."""

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, beta1: float, beta2: float, weight_decay: float = 0.0
    ):
        self.param_groups = [{"lr": lr}]
        self.parameters, self.beta1, self.beta2, self.decay = parameters, beta1, beta2, weight_decay
        self.means = [[0.0] * p.numel() for p in parameters]

    def step(self) -> None:
        """One step along `grad`."""
        for parameter, mean in zip(self.parameters, self.means, strict=True):
            flat, slopes = parameter.detach().view(-1), gradient(parameter).tolist()
            for i, g in enumerate(slopes):
                c = self.beta1 * mean[i] + (1 - self.beta1) * g
                sign = 1.0 if c > 0 else -1.0 if c < 0 else 0.0
                flat[i] = float(flat[i]) - self.param_groups[0]["lr"] * (sign + self.decay * float(flat[i]))
                mean[i] = self.beta2 * mean[i] + (1 - self.beta2) * g


def gradient(parameter: nn.Parameter) -> Tensor:
    """A parameter's gradient, flat."""
    assert parameter.grad is not None
    return parameter.grad.reshape(-1)
