"""Constructors of transformers: a model is made of a configuration, whose parameters are keys.

`model.name=transformers:GPT2LMHeadModel model.n_layer=2 model.n_embd=64` is `GPT2LMHeadModel(GPT2Config(n_layer=2,
n_embd=64, vocab_size=...))`: random weights, and whatever is not said as the configuration has it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

LABELS = "num_labels"
"""What every configuration takes, whatever its signature says."""


def parameters_of(found: Callable[..., Any]) -> tuple[Callable[..., Any], Iterable[inspect.Parameter]]:
    """What builds a model by keywords, and its parameters: those of the callable, or of its class of configurations.

    Raises:
        ValueError, TypeError, NameError, AttributeError: the signature cannot be read.
    """
    config = getattr(found, "config_class", None)
    if not (inspect.isclass(found) and inspect.isclass(config)):
        return found, inspect.signature(found, eval_str=True).parameters.values()
    known = inspect.signature(config).parameters.values()
    # what all models have in common (where files lie, how outputs come) has its types as texts, and is no key
    own = [each for each in known if not isinstance(each.annotation, str)]
    if hasattr(config, LABELS) and LABELS not in {each.name for each in own}:
        own.insert(0, inspect.Parameter(LABELS, inspect.Parameter.KEYWORD_ONLY, annotation=int))
    return _Configured(found, config), own


class _Configured:
    """Makes a model of a configuration."""

    def __init__(self, model: Callable[..., Any], config: Callable[..., Any]) -> None:
        self.model, self.config = model, config

    def __call__(self, **values: Any) -> Any:
        return self.model(self.config(**values))
