"""A small decoder of the kind of GPT-2.

Shapes: B batch, T tokens, E numbers of each, N heads.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.token_model import TokenModel


class Transformer(TokenModel):
    """Embeddings of tokens and of places; `depth` blocks

        x ← x + attention(norm(x)),   x ← x + W₂ gelu(W₁ norm(x))

    with causal attention of `heads` heads and 4 · `width` hidden units; layer normalisation, and logits. Dropout after
    the embeddings, on the probabilities of attention, and at the end of each branch.

    Radford et al. 2019 (GPT-2), after Vaswani et al., NeurIPS 2017; the last layer does not share the embedding's
    weights. Weights begin normal with deviation 0.02, those that end a branch with 0.02 / √(2 · `depth`).
    """

    width: int = key(64, "numbers of each token", "small; 768 in GPT-2", ge=1, le=2**16)
    depth: int = key(2, "blocks", "small; 12 in GPT-2", ge=1, le=1000)
    heads: int = key(4, "heads of attention; a divisor of model.width", "small; 12 in GPT-2", ge=1)
    dropout: float = key(0.0, "probability of dropout", "off; 0.1 in GPT-2", ge=0.0, lt=1.0)

    def model_post_init(self, context: object) -> None:
        """Refuse heads that do not divide the width."""
        if self.width % self.heads:
            raise InputError("heads", self.heads, f"must be a divisor of model.width = {self.width}")

    def encoder(self, length: int, vocabulary: int) -> tuple[nn.Module, int]:
        """All but the logits."""
        return _Encoder(length, vocabulary, self.width, self.depth, self.heads, self.dropout), self.width


class _Encoder(nn.Module):
    def __init__(self, length: int, vocabulary: int, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(_Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for name, tensor in self.named_parameters():
            if tensor.dim() == 2:
                ends = name.endswith(("attention.out.weight", "narrow.weight"))
                nn.init.normal_(tensor, std=0.02 / (2 * depth) ** 0.5 if ends else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(tensor)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """[B, T, E]."""
        x = self.drop(self.tokens(tokens_BT) + self.places.weight[: tokens_BT.shape[-1]])
        found: Tensor = self.norm(self.blocks(x))
        return found


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.first, self.attention = nn.LayerNorm(width), _Attention(width, heads, dropout)
        self.second = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BTE: Tensor) -> Tensor:
        x_BTE = x_BTE + self.drop(self.attention(self.first(x_BTE)))
        found: Tensor = x_BTE + self.drop(self.narrow(F.gelu(self.wide(self.second(x_BTE)))))
        return found


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        batch, length, width = x_BTE.shape
        parts = self.joint(x_BTE).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        p = self.dropout if self.training else 0.0
        query, key, value = parts.unbind()
        mixed_BNTH = F.scaled_dot_product_attention(query, key, value, dropout_p=p, is_causal=True)
        found: Tensor = self.out(mixed_BNTH.transpose(1, 2).reshape(batch, length, width))
        return found
