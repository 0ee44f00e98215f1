"""Projected gradient descent on images, written from Madry et al., ICLR 2018, section 2.1, image by image in pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def pgd(
    loss: Callable[[Tensor], Tensor], image: Tensor, epsilon: float, steps: int, size: float, norm: str, start: Tensor
) -> Tensor:
    """x^{t+1} = Π_{x+S}(x^t + α sgn ∇_x L), with S the ball of radius ε around the image and pixels from 0 to 1.

    Args:
        loss: of one image [C, H, W] with pixels from 0 to 1.
        start: x^0 − x.
    """
    x = torch.clamp(image + start, 0, 1)
    for _ in range(steps):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(x), x)
        x = x.detach()
        if norm == "linf":
            x = x + size * torch.sign(slope)
            x = torch.max(torch.min(x, image + epsilon), image - epsilon)
        else:
            x = x + size * slope / slope.flatten().norm()
            far = (x - image).flatten().norm()
            if far > epsilon:
                x = image + epsilon * (x - image) / far
        x = torch.clamp(x, 0, 1)
    return x
