"""Correlation by Fourier coefficients against torch's own, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from fedsam.engine.kernels.fourier import Fourier, matrices

SHAPES = [(14, 5), (12, 5), (9, 3), (7, 4), (8, 8), (5, 2), (2, 2), (3, 2)]  # N even and odd, one output, the least


def correlated(
    side: int, kernel: int, dtype: torch.dtype = torch.float64
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output and derivatives, ours and torch's."""
    rng = torch.Generator().manual_seed(side)
    x = torch.randn(3, 4, side, side, generator=rng, dtype=torch.float64).requires_grad_()
    w = torch.randn(6, 4, kernel, kernel, generator=rng, dtype=torch.float64).requires_grad_()
    y = F.conv2d(x, w)
    d = torch.randn(y.shape, generator=rng, dtype=torch.float64)
    dx, dw = torch.autograd.grad(y, (x, w), d)
    fourier = Fourier(side, kernel)
    with torch.no_grad():
        ours, kept = fourier.forward(x.to(dtype), w.to(dtype))
        found = [ours, *fourier.backward(d.to(dtype), kept)]
    return found, [y.detach(), dx, dw]


@pytest.mark.parametrize(("side", "kernel"), SHAPES)
def test_is_torchs_convolution(side: int, kernel: int) -> None:
    for ours, theirs in zip(*correlated(side, kernel), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 7e-3)])
def test_narrow_types_err_as_little_as_their_numbers(dtype: torch.dtype, error: float) -> None:
    for ours, theirs in zip(*correlated(14, 5, dtype), strict=True):
        distance = (ours.double() - theirs).norm() / theirs.norm()
        assert 0 < distance < error


def test_images_whose_numbers_of_a_place_lie_together_give_the_same_bits() -> None:
    x, w = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3)
    lying = x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    y, kept = Fourier(6, 3).forward(x, w)
    other, other_kept = Fourier(6, 3).forward(lying, w)
    assert torch.equal(y, other)
    assert y.permute(2, 3, 0, 1).is_contiguous()
    dx, dw = Fourier(6, 3).backward(y, kept)
    other_dx, other_dw = Fourier(6, 3).backward(y.contiguous(), other_kept)
    assert torch.equal(dx, other_dx)
    assert torch.equal(dw, other_dw)
    assert dx.permute(2, 3, 0, 1).is_contiguous()


def test_nothing_is_written_to_what_others_hold() -> None:
    """All threads have the same matrices."""
    fourier, x, w = Fourier(6, 3), torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3)
    constants = matrices(fourier, x.dtype)
    before = {name: matrix.clone() for name, matrix in constants.items()}
    y, kept = fourier.forward(x, w)
    given = [tensor.clone() for tensor in (x, w, y, *kept)]
    first, second = fourier.backward(y, kept), fourier.backward(y, kept)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip((x, w, y, *kept), given, strict=True))
    assert matrices(fourier, x.dtype) is constants
    assert all(torch.equal(constants[name], before[name]) for name in before)


def test_the_rule_takes_it_for_large_kernels_and_batches_only() -> None:
    paper = Fourier(14, 5)
    assert paper.pays(64, 64, 64)
    assert paper.pays(10, 64, 64)
    assert not paper.pays(5, 64, 64)  # transforming the kernels is then most of the work
    assert paper.pays(20, 16, 16)  # and is soon done for few channels
    assert not paper.pays(4096, 64, 64)  # it would keep too much
    assert not Fourier(32, 9).pays(64, 3, 64)  # of pictures, which need no derivative
    assert not Fourier(32, 5).pays(64, 4, 64)  # the transforms are then most of the work
    assert not Fourier(34, 3).pays(50, 16, 16)


def test_operations_are_those_of_its_products() -> None:
    fourier, (batch, inputs, outputs) = Fourier(14, 5), (2, 3, 4)
    g, r, n, s, k = 7, 42, 14, 10, 5
    image = batch * inputs * (2 * g * n * n + g * r * 2 * n)
    kernel = inputs * outputs * (2 * g * k * k + g * r * 2 * k)
    back = batch * outputs * (g * 2 * s * r + s * 2 * g * s)
    assert fourier.operations(batch, inputs, outputs) == image + kernel + back + g * r * batch * inputs * outputs
