"""Sequences: the next token at each place, where it counts.

Shapes: N examples, T tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from fedsam.config import key
from fedsam.data.tokens import UNCOUNTED
from fedsam.errors import InputError
from fedsam.tasks.base import Task, Weight
from fedsam.tasks.metric import Metric
from fedsam.tasks.token_metrics import (
    BLEU,
    BitsPerCharacter,
    Perplexity,
    TokenAccuracy,
    must_have_sacrebleu,
    token_losses,
)

if TYPE_CHECKING:
    from fedsam.data.spec import Spec


class Sequence(Task):
    """Softmax cross entropy of the logits z of each place, whose target y is the token after it:

    l_n = Σ_t (log Σ_v exp z_tv − z_ty),   w_n = the number of places t of example n that count

    so a batch's loss is the mean over its tokens, and perplexity is exp of it. Targets are stored shifted: the target
    of place t is the token of place t + 1. One that is −100 does not count: a filled-up place, or a token of a prompt,
    so that answers alone are learnt (`fedsam.data.tokens`). What a model is given at such places is up to the data set;
    a causal one does not look at what comes after the last token that counts.
    """

    requires = frozenset({"tokens"})
    metrics: ClassVar[tuple[Metric, ...]] = (Perplexity(), TokenAccuracy(), BitsPerCharacter(), BLEU())
    loss_unit: ClassVar[str] = "nats"

    end: int | None = key(
        None, "token that ends an answer, where BLEU is recorded; none = as many tokens as the true answer", "off", ge=0
    )

    _known: tuple[Metric, ...] = ()

    @property
    def recorded(self) -> tuple[Metric, ...]:
        """The metrics that are recorded; those that need the tokens' texts have them once the data are known."""
        known = {metric.name: metric for metric in self._known}
        return tuple(known.get(metric.name, metric) for metric in super().recorded)

    def on(self, spec: Spec) -> Sequence:
        """With the tokens' texts.

        Raises:
            InputError: the data have none, and a metric that needs them is to be recorded; or sacrebleu is missing.
        """
        wanted = {metric.name for metric in self.recorded}
        need = wanted & {BitsPerCharacter.name, BLEU.name}
        if need and not spec.names:
            told = f"{sorted(need)[0]} needs the texts of the tokens (Spec.names), which the data set does not know"
            raise InputError("extra_metrics", self.extra_metrics, told)
        if BLEU.name in wanted:
            must_have_sacrebleu()
        bound = self.model_copy()
        bound._known = (BitsPerCharacter(spec.names), BLEU(spec.names, self.end))
        return bound

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """(T, V)."""
        if not spec.sequences or spec.classes is None:
            told = "needs a token as the target of each token (Spec.target_shape = (T,))"
            raise InputError("name", self.name, told)
        return (*spec.target_shape, spec.classes)

    def check_targets(self, targets: np.ndarray) -> None:
        """Refuse data of which nothing counts."""
        if not (targets != UNCOUNTED).any():
            raise InputError("name", self.name, f"has no target that counts; all are {UNCOUNTED}")

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """Of each example the sum over its tokens that count, [N], and their number, [N]."""
        losses_NT, counted_NT = token_losses(outputs, targets)
        return losses_NT.sum(dim=1), counted_NT.sum(dim=1).to(outputs.dtype)
