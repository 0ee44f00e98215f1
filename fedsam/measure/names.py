"""On which examples a record was measured: the test set, or with `data.validation` what clients hold out for tuning.

A run that is for tuning never looks at the test set, so that its records have other names: `validation_accuracy` where
others have `test_accuracy`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEST, VALIDATION = "test", "validation"


def split_of(record: Mapping[str, Any]) -> str:
    """`test` or `validation`, by what a record, a summary or a row of a table has.

    >>> split_of({"round": 10, "validation_accuracy": 0.9})
    'validation'
    """
    return VALIDATION if any(name.startswith(f"{VALIDATION}_") for name in record) else TEST


def further_of(record: Mapping[str, Any]) -> list[str]:
    """More test splits that a record has loss and headline of: `unseen`.

    >>> further_of({"test_miou": 0.5, "test_loss": 1.0, "unseen_miou": 0.4, "unseen_loss": 1.2, "train_loss": 0.9})
    ['unseen']
    """
    split, headline = split_of(record), headline_of(record)
    names = (name.removesuffix("_loss") for name in record if name.endswith("_loss"))
    return [name for name in names if name != split and f"{name}_{headline}" in record]


def headline_of(record: Mapping[str, Any]) -> str:
    """The name of the metric that a run is judged by: the first that a record has, and that is not the loss.

    >>> headline_of({"round": 10, "test_rmse": 0.3, "test_loss": 0.1})
    'rmse'
    """
    split = split_of(record)
    names = (name.removeprefix(f"{split}_") for name in record if name.startswith(f"{split}_"))
    return next((name for name in names if name != "loss"), "accuracy")


def value_of(record: Mapping[str, Any]) -> Any:
    """The headline metric on the split that the record was measured on."""
    return record[f"{split_of(record)}_{headline_of(record)}"]


def loss_of(record: Mapping[str, Any]) -> Any:
    """The loss on the split that the record was measured on."""
    return record[f"{split_of(record)}_loss"]
