"""Long short-term memory.

Shapes: B batch, T tokens, E numbers of each, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.models.token_model import TokenModel


class LSTM(TokenModel):
    """Embeddings of tokens, `depth` layers of LSTM with `width` units, and logits.

    Hochreiter and Schmidhuber, Neural Computation 9, 1997; as in McMahan et al., AISTATS 2017, for Shakespeare's plays
    character by character: 8 numbers of each token, two layers of 256 units. Initialisation is torch's.
    """

    embedding: int = key(8, "numbers of each token", "McMahan et al. 2017", ge=1, le=2**16)
    width: int = key(64, "units of each layer", "a quarter of McMahan et al. 2017", ge=1, le=2**16)
    depth: int = key(2, "layers", "McMahan et al. 2017", ge=1, le=100)
    dropout: float = key(0.0, "probability of dropout between layers", "off", ge=0.0, lt=1.0)

    def encoder(self, length: int, vocabulary: int) -> tuple[nn.Module, int]:
        """All but the logits."""
        dropout = self.dropout if self.depth > 1 else 0.0
        layers = _Layers(self.embedding, self.width, self.depth, batch_first=True, dropout=dropout)
        return nn.Sequential(nn.Embedding(vocabulary, self.embedding), layers), self.width


class _Layers(nn.LSTM):
    """torch's LSTM, which `torch.func.vmap` lacks: there token by token,

    i, f, g, o = W x_t + b + R h_{t−1} + d,   c_t = σ(f) c_{t−1} + σ(i) tanh(g),   h_t = σ(o) tanh(c_t)
    """

    def forward(self, x_BTE: Tensor) -> Tensor:  # type: ignore[override]
        """[B, T, H]."""
        if not torch._C._functorch.is_batchedtensor(self.weight_ih_l0):  # type: ignore[arg-type]
            found: Tensor = super().forward(x_BTE)[0]
            return found
        for layer in range(self.num_layers):
            x_BTE = self._stepped(x_BTE, layer)
            if layer + 1 < self.num_layers:
                x_BTE = F.dropout(x_BTE, self.dropout, self.training)
        return x_BTE

    def _stepped(self, x_BTE: Tensor, layer: int) -> Tensor:
        into, back, bias, other = (
            getattr(self, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        given_BTG = F.linear(x_BTE, into, bias) + other
        h_BH = c_BH = x_BTE.new_zeros(len(x_BTE), self.hidden_size)
        found = []
        for given_BG in given_BTG.unbind(1):
            i_BH, f_BH, g_BH, o_BH = (given_BG + F.linear(h_BH, back)).chunk(4, dim=-1)
            c_BH = f_BH.sigmoid() * c_BH + i_BH.sigmoid() * g_BH.tanh()
            h_BH = o_BH.sigmoid() * c_BH.tanh()
            found.append(h_BH)
        return torch.stack(found, dim=1)
