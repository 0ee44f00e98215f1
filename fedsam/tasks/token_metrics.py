"""Metrics of sequences of tokens, each from sums over the tokens that count.

Shapes: N examples, T tokens, V tokens of the vocabulary, S statistics.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.data.tokens import UNCOUNTED
from fedsam.errors import InputError
from fedsam.tasks.metric import Metric

LARGEST = 700.0  # of an exponent in float64


def token_losses(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """−log p of each target, 0 where it does not count, [N, T]; and which do."""
    counted_NT = targets != UNCOUNTED
    at_NT1 = torch.where(counted_NT, targets, 0).long()[..., None]
    # see `Classification.losses` for why not torch's own
    losses_NT = -torch.log_softmax(outputs, dim=-1).gather(-1, at_NT1).squeeze(-1)
    return torch.where(counted_NT, losses_NT, 0.0), counted_NT


class Perplexity(Metric):
    """exp(Σ −log p / tokens), over all tokens that count: 1 is perfect, V is a guess."""

    name, better, unit = "perplexity", "lower", ""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses, and tokens; [N, 2]."""
        losses_NT, counted_NT = token_losses(outputs, targets)
        return torch.stack([losses_NT.double().sum(dim=1), counted_NT.sum(dim=1).double()], dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """Of the sums; NaN where no token counts."""
        return math.exp(min(total_S[0] / total_S[1], LARGEST)) if total_S[1] else math.nan


class TokenAccuracy(Metric):
    """Share of the tokens that count which have the largest logit."""

    name, better, unit = "token_accuracy", "higher", "share"

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Those that have, and all; [N, 2]. UNCOUNTED is below every token."""
        right_N = (outputs.argmax(dim=-1) == targets).sum(dim=1)
        return torch.stack([right_N, (targets != UNCOUNTED).sum(dim=1)], dim=1).double()

    def value(self, total_S: np.ndarray) -> float:
        """Right ones / all; NaN where no token counts."""
        return float(total_S[0] / total_S[1]) if total_S[1] else math.nan


class BitsPerCharacter(Metric):
    """Σ −log₂ p / Σ characters, over the tokens that count; so vocabularies can be compared.

    Args:
        texts: of the tokens, V; none before the data are known.
    """

    name, better, unit = "bits_per_character", "lower", "bits"

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._lengths_V = torch.tensor([len(text) for text in texts], dtype=torch.float64)

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses, and characters; [N, 2]."""
        losses_NT, counted_NT = token_losses(outputs, targets)
        lengths_V = self._lengths_V.to(targets.device)
        characters_NT = torch.where(counted_NT, lengths_V[torch.where(counted_NT, targets, 0).long()], 0.0)
        return torch.stack([losses_NT.double().sum(dim=1), characters_NT.sum(dim=1)], dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """Of the sums; NaN where no character counts."""
        return float(total_S[0] / math.log(2) / total_S[1]) if total_S[1] else math.nan


class BLEU(Metric):
    """BLEU of answers that are decoded greedily, against those that the targets are, by sacrebleu (an extra).

    Papineni et al., ACL 2002; Post, WMT 2018. From counts of n-grams summed over all examples, so it is that of the
    whole corpus. Each answer begins after its prompt, the tokens before the first target that counts, and is as long as
    the true one at most, or ends before the token `end`. One pass of the model for each token.

    Args:
        texts: of the tokens, V; none before the data are known.
        end: the token that ends an answer.
    """

    name, better, unit = "bleu", "higher", ""

    def __init__(self, texts: Sequence[str] = (), end: int | None = None) -> None:
        self._texts, self._end = texts, end

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of what has the largest logit at each place after the true tokens before it, not of what is decoded."""
        return self._counted(outputs.argmax(dim=-1), targets)

    def judged(self, model: Callable[[Tensor], Tensor], inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of decoded answers."""
        return self._counted(greedy(model, inputs, targets), targets).sum(dim=0)

    def value(self, total_S: np.ndarray) -> float:
        """From 0 to 100, as is usual."""
        correct, total, lengths = total_S[:4].astype(int), total_S[4:8].astype(int), total_S[8:].astype(int)
        score = _sacrebleu().compute_bleu(list(correct), list(total), *map(int, lengths), smooth_method="exp")
        return float(score.score)

    def _counted(self, found: Tensor, targets: Tensor) -> Tensor:
        """Matching n-grams of each order, all of them, and the lengths of both; float64 [N, 10]."""
        bleu, rows = _sacrebleu()(effective_order=True), []
        for tokens, wanted in zip(found.tolist(), targets.tolist(), strict=True):
            counted = [place for place, token in enumerate(wanted) if token != UNCOUNTED]
            said, true = (self._text([each[place] for place in counted]) for each in (tokens, wanted))
            score = bleu.sentence_score(said, [true])
            rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
        return torch.tensor(rows, dtype=torch.float64, device=targets.device)

    def _text(self, tokens: list[int]) -> str:
        if self._end in tokens:
            tokens = tokens[: tokens.index(self._end)]
        return "".join(self._texts[token] for token in tokens)


def greedy(model: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    """The tokens that are decoded greedily in the places of the targets, int64 [N, T].

    Args:
        model: gives logits [N, T, V], those of a place of the tokens up to it.
        inputs: the prompts and what follows, [N, T], of which only the prompts are looked at.
        targets: whose first that counts says where an answer begins.
    """
    answer_NT = (targets != UNCOUNTED).long().cumsum(dim=1) > 0
    tokens, length = inputs.clone(), inputs.shape[1]
    found = torch.zeros_like(inputs)
    first = int(answer_NT.any(dim=0).long().argmax()) if bool(answer_NT.any()) else length
    for place in range(first, length):
        found[:, place] = model(tokens)[:, place].argmax(dim=-1)
        if place + 1 < length:
            tokens[:, place + 1] = torch.where(answer_NT[:, place], found[:, place], tokens[:, place + 1])
    return found


def must_have_sacrebleu() -> None:
    """Raises:
    InputError: it is not installed.
    """
    if importlib.util.find_spec("sacrebleu") is None:
        raise InputError("extra_metrics", "bleu", 'needs sacrebleu; install it by pip install "fedsam[text]"')


def _sacrebleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU as Sacre  # noqa: N811

    return Sacre
