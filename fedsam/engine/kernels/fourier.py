"""Convolutions as products of Fourier coefficients, where that is less work than going over the pixels.

Shapes: B batch, C channels in, O channels out, N side of the image, K side of the kernel, S = N − K + 1 side of the
output, G = ⌈N/2⌉ groups of frequencies, R = 3N products of a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MULTIPLICATION = 0.8  # here, in those of a direct convolution
KERNEL = 35  # the same for a coefficient of the kernels, which goes through memory however small the batch
FEWEST = 4  # channels in; pictures have fewer, of which a direct convolution needs no derivative
LARGEST = 2**25  # numbers that a batch may become; with more it has not been timed


@dataclass(frozen=True)
class Fourier:
    """The valid correlation of square images with square kernels, and its derivative.

    Where it does not wrap around, the circular correlation of N × N pixels is the valid one, and the discrete Fourier
    transform makes of it a product, frequency by frequency:

        y_O = F⁻¹(Σ_C F(x_C) · conj F(w_OC)),

    in exact arithmetic the same as the sum over pixels. Images are real. So along the height the transform keeps N real
    numbers, in groups of two: real and imaginary part of one frequency, and of frequencies 0 and N/2, which are real,
    the first group. Along the width it is complex, in the first group real for each of the two. A complex product is
    made of three real ones (Gauss): with a = (p + q) r, b = p (s − r), c = q (r + s),
    (p + iq)(r + is) = (a − c) + i(a + b); these sums are part of the transforms. So all of it is

        y = back_h back_w ((image_w image_h x) · (kernel_w kernel_h w))

    with constant matrices and, for each of G·R places, one matrix product over the channels. Its derivatives by x and w
    are the same with the matrices transposed. (On such algorithms: Winograd, *Arithmetic Complexity of Computations*,
    1980; on Fourier coefficients in networks: Mathieu, Henaff and LeCun, ICLR 2014.)

    Args:
        side: N.
        kernel: K.
    """

    side: int
    kernel: int

    @property
    def valid(self) -> int:
        """S."""
        return self.side - self.kernel + 1

    @property
    def groups(self) -> int:
        """G."""
        return (self.side + 1) // 2

    @property
    def products(self) -> int:
        """R."""
        return 3 * self.side

    def operations(self, batch: int, inputs: int, outputs: int) -> int:
        """Multiplications of a forward pass; each half of a backward pass has about as many."""
        n, s, k, g, r = self.side, self.valid, self.kernel, self.groups, self.products
        image, back, kernel = 2 * g * n * (n + r), 2 * g * s * (s + r), 2 * g * k * (k + r)
        return batch * (inputs * image + outputs * back + inputs * outputs * g * r) + inputs * outputs * kernel

    def pays(self, batch: int, inputs: int, outputs: int) -> bool:
        """Whether it takes less time than a direct convolution on a CPU: a rule of shapes, fitted to times of both in
        float32 and bfloat16.
        """
        direct = batch * inputs * outputs * self.kernel**2 * self.valid**2
        places = self.groups * self.products
        client = MULTIPLICATION * self.operations(batch, inputs, outputs) + KERNEL * inputs * outputs * places
        return client < direct and inputs >= FEWEST and batch * max(inputs, outputs) * places <= LARGEST

    def forward(self, x_BCNN: Tensor, weight_OCKK: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The correlation, [B, O, S, S], and the coefficients of images and kernels, which `backward` needs.

        Numbers of one place lie together ([S, S, B, O] in memory); images that lie likewise are not copied. Of bfloat16
        the transforms along the height are made in float32.
        """
        (batch, inputs, *_), outputs = x_BCNN.shape, len(weight_OCKK)
        g, r, m = self.groups, self.products, matrices(self, x_BCNN.dtype)
        x_RM = torch.bmm(m["image_w"], _first(m["image_h"], x_BCNN.permute(2, 3, 0, 1), g))
        w_KKM = weight_OCKK.view(outputs * inputs, -1).T.contiguous().view(self.kernel, self.kernel, -1)
        w_RM = torch.bmm(m["kernel_w"], _first(m["kernel_h"], w_KKM, g))
        x_RBC, w_ROC = x_RM.view(g * r, batch, inputs), w_RM.view(g * r, outputs, inputs)
        y_GSM = torch.bmm(m["back_w"], torch.bmm(x_RBC, w_ROC.mT).view(g, r, -1))
        return _last(m["back_h"], y_GSM, batch, outputs).permute(2, 3, 0, 1), (x_RBC, w_ROC)

    def backward(self, d_BOSS: Tensor, coefficients: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The derivative by the images, [B, C, N, N], which lies as `forward`'s output, and by the kernels,
        [O, C, K, K], of bfloat16 in float32.

        Args:
            d_BOSS: by the output.
        """
        (x_RBC, w_ROC), (batch, outputs, *_), inputs = coefficients, d_BOSS.shape, coefficients[0].shape[2]
        g, r, m = self.groups, self.products, matrices(self, d_BOSS.dtype)
        d_GSM = _first(m["back_h"].T, d_BOSS.permute(2, 3, 0, 1), g)
        d_RBO = torch.bmm(m["back_w"].mT, d_GSM).view(g * r, batch, outputs)
        dx_G2M = torch.bmm(m["image_w"].mT, torch.bmm(d_RBO, w_ROC).view(g, r, -1))
        dw_G2M = torch.bmm(m["kernel_w"].mT, torch.bmm(d_RBO.mT, x_RBC).view(g, r, -1))
        dx_NNBC = _last(m["image_h"].T, dx_G2M, batch, inputs)
        dw_KKM = _last(m["kernel_h"].T, dw_G2M.to(m["kernel_h"].dtype), outputs * inputs)
        dw_OCKK = dw_KKM.view(-1, outputs * inputs).T.view(outputs, inputs, self.kernel, self.kernel)
        return dx_NNBC.permute(2, 3, 0, 1), dw_OCKK


def _first(matrix: Tensor, x: Tensor, groups: int) -> Tensor:
    """The transform along the height, of [N, N, ...] to [G, 2N, M]."""
    found = matrix @ x.reshape(len(x), -1).to(matrix.dtype)
    return found.view(groups, 2 * len(x), -1).to(x.dtype)


def _last(matrix: Tensor, y_G2M: Tensor, *channels: int) -> Tensor:
    """The transform along the height, of [G, 2N, M] to [N, N, ...]."""
    found = matrix @ y_G2M.view(2 * len(y_G2M), -1).to(matrix.dtype)
    return found.view(len(matrix), len(matrix), *channels).to(y_G2M.dtype)


@lru_cache(maxsize=64)
def matrices(of: Fourier, dtype: torch.dtype) -> dict[str, Tensor]:
    """`image_h` [2G, N], `image_w` [G, R, 2N]; `kernel_h` [2G, K], `kernel_w` [G, R, 2K]; `back_w` [G, 2S, R],
    `back_h` [S, 2G]. Of bfloat16 those along the height are float32.
    """
    n, s, k, g, r = of.side, of.valid, of.kernel, of.groups, of.products
    along_h = torch.zeros(g, 2, n, dtype=torch.float64)
    along_h[0, 0] = 1
    if n % 2 == 0:
        # of an odd n there is no frequency N/2, and this half of the group stays 0
        along_h[0, 1] = _wave(torch.cos, n // 2, n)
    for f in range(1, g):
        along_h[f] = torch.stack([_wave(torch.cos, f, n), -_wave(torch.sin, f, n)])
    # a frequency stands for its mirror image too; 0 and N/2, the first group, are their own
    share = torch.full((g, 1, 1), 2 / n, dtype=torch.float64)
    share[0] = 1 / n
    ends = [row for part in range(2 - n % 2) for row in _real_rows(part, n)]
    others = [row for f in range(n) for row in _complex_rows(f, n)]
    # the first group has fewer products; what it lacks stays 0, so that one bmm takes all groups
    image, kernel, back = torch.zeros(3, g, r, 2, n, dtype=torch.float64)
    for group, rows in enumerate([ends, *[others] * (g - 1)]):
        for place, row in enumerate(rows):
            image[group, place], kernel[group, place], back[group, place] = row
    found = {
        "image_h": along_h.reshape(2 * g, n),
        "image_w": image.reshape(g, r, 2 * n),
        "kernel_h": along_h[:, :, :k].reshape(2 * g, k),
        "kernel_w": kernel[..., :k].reshape(g, r, 2 * k),
        "back_w": back[..., :s].reshape(g, r, 2 * s).transpose(1, 2),
        "back_h": (share * along_h)[:, :, :s].reshape(2 * g, s).T,
    }
    wide = torch.float32 if dtype == torch.bfloat16 else dtype
    types = {name: wide if name.endswith("_h") else dtype for name in found}
    return {name: matrix.to(types[name]).contiguous() for name, matrix in found.items()}


Row = tuple[Tensor, Tensor, Tensor]
"""What one product takes of the image and of the kernel, and what of it goes back, each [2, N]."""


def _wave(shape: Callable[[Tensor], Tensor], f: int, n: int) -> Tensor:
    return shape(torch.arange(n, dtype=torch.float64) * (2 * math.pi * f / n))


def _three(re: Tensor, im: Tensor, back_re: Tensor, back_im: Tensor) -> list[Row]:
    """Gauss's products of F(x) = re + i·im and conj F(w) = re − i·im; their parts go back by the others."""
    return [(re + im, re, back_re + back_im), (re, -im - re, back_im), (im, re - im, -back_re)]


def _complex_rows(f: int, n: int) -> list[Row]:
    """Frequency f of a complex sequence."""
    cosine, sine = _wave(torch.cos, f, n), _wave(torch.sin, f, n)
    re, im = torch.stack([cosine, sine]), torch.stack([-sine, cosine])
    return _three(re, im, torch.stack([cosine, sine]) / n, torch.stack([-sine, cosine]) / n)


def _real_rows(part: int, n: int) -> list[Row]:
    """All frequencies of a real sequence, the first or the second of two."""
    place = torch.zeros(2, 1, dtype=torch.float64)
    place[part] = 1
    rows: list[Row] = []
    for f in range(n // 2 + 1):
        cosine, sine = place * _wave(torch.cos, f, n), place * _wave(torch.sin, f, n)
        if 2 * f % n == 0:
            rows.append((cosine, cosine, cosine / n))  # it is real: one product instead of three
        else:
            rows += _three(cosine, -sine, 2 * cosine / n, -2 * sine / n)  # twice, for its mirror image
    return rows
