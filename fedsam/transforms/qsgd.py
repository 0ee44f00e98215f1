"""QSGD: numbers rounded by lot to a few levels.

Shapes: P parameters, n buckets of d of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fedsam.config import key
from fedsam.transforms import bits
from fedsam.transforms.base import Compression, Draws, State


class QSGD(Compression):
    """C(x)_i = ‖x‖ sign(x_i) l_i / s with s |x_i| / ‖x‖ rounded by lot to one of its two neighbours among the whole
    numbers, l_i: E C(x) = x, E ‖C(x) − x‖² ≤ min(d / s², √d / s) ‖x‖². Each bucket of d numbers has a norm of its own.

    Alistarh et al., NeurIPS 2017, section 3.1, buckets section 3.3. A norm for each bucket travels and for each number
    sign(x_i) l_i in 2, 4 or 8 bits, whichever hold 2 s + 1 values; the paper's Elias code is left out.
    """

    levels: int = key(7, "s, levels beside zero; 7 takes 4 bits a number", "Alistarh et al. 2017, 4 bits", ge=1, le=127)
    bucket: int = key(512, "d, numbers that share a norm", "Alistarh et al. 2017", ge=1, le=10**9)

    def draw(self, rng: np.random.Generator, total: int) -> Draws:
        """`lot`, uniform in [0, 1), float32 [P]."""
        return {"lot": rng.random(total, dtype=np.float32)}

    def encode(self, delta: Tensor, draws: State) -> State:
        """`norms` [..., n], and s + sign(x_i) l_i as `codes`, packed."""
        rows = self._buckets(delta)
        norms = torch.linalg.vector_norm(rows, dim=-1)
        scaled = self.levels * rows.abs() / torch.where(norms > 0, norms, torch.ones_like(norms))[..., None]
        level = torch.floor(scaled + self._buckets(draws["lot"])).clamp(max=self.levels)
        codes = (self.levels + rows.sign() * level).flatten(-2)[..., : delta.shape[-1]]
        return {"norms": norms, "codes": bits.packed(codes.to(torch.uint8), self._width)}

    def decode(self, payload: State, draws: State, total: int) -> Tensor:
        """‖x‖ sign(x_i) l_i / s."""
        norms = payload["norms"]
        signed = bits.unpacked(payload["codes"], self._width, total).to(norms.dtype) - self.levels
        return (self._buckets(signed) * (norms[..., None] / self.levels)).flatten(-2)[..., :total]

    def _buckets(self, numbers: Tensor) -> Tensor:
        """[..., n, d], the last filled up with zeros."""
        total = numbers.shape[-1]
        size = min(self.bucket, total)
        return pad(numbers, (0, -total % size)).reshape(*numbers.shape[:-1], -1, size)

    @property
    def _width(self) -> int:
        return bits.width_of(2 * self.levels + 1)
