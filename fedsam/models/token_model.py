"""What recipes for tokens share: they are told the vocabulary, and what they must give for a sequence.

Shapes: B batch, T tokens, E numbers of each, V tokens of the vocabulary, L classes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn

from torch import Tensor, nn

from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.initialise import Form


class TokenModel(Model):
    """A recipe for inputs that are tokens, int64 [B, T]: logits of each place, [B, T, V], or of the whole, [B, L]."""

    requires = frozenset({"tokens"})

    def build(self, shape: tuple[int, ...], classes: int) -> NoReturn:
        """It needs more than a shape."""
        raise InputError("name", self.name, "needs tokens as inputs, and is given other numbers")

    def build_for(self, form: Form) -> nn.Module:
        """The encoder for a vocabulary, and logits of each place or of the mean over places."""
        if form.vocabulary is None or len(form.shape) != 1:
            self.build(form.shape, form.classes)
        encoder, width = self.encoder(form.shape[0], form.vocabulary or 0)
        logits = nn.Linear(width, form.outputs[-1])
        return Decoder(encoder, logits) if len(form.outputs) == 2 else Classifier(encoder, logits)

    @abstractmethod
    def encoder(self, length: int, vocabulary: int) -> tuple[nn.Module, int]:
        """A module that makes of tokens [B, T] numbers [B, T, E], those of a place of the tokens up to it; and E.

        Args:
            length: T.
            vocabulary: V.
        """


class Decoder(nn.Module):
    """Logits of each place."""

    def __init__(self, encoder: nn.Module, logits: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.logits = encoder, logits

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """[B, T, V]."""
        found: Tensor = self.logits(self.encoder(tokens_BT))
        return found


class Classifier(Decoder):
    """Logits of the mean over places."""

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """[B, L]."""
        found: Tensor = self.logits(self.encoder(tokens_BT).mean(dim=1))
        return found
