"""On which examples a record was measured: the test set, or with `data.validation` what clients hold out for tuning.

A run that is for tuning never looks at the test set, so that its records have other names: `validation_accuracy` where
others have `test_accuracy`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEST, VALIDATION = "test", "validation"


def split_of(record: Mapping[str, Any]) -> str:
    """`test` or `validation`, by the accuracy that a record, a summary or a row of a table has.

    >>> split_of({"round": 10, "validation_accuracy": 0.9})
    'validation'
    """
    return VALIDATION if f"{VALIDATION}_accuracy" in record else TEST


def accuracy_of(record: Mapping[str, Any]) -> Any:
    """The accuracy on the split that the record was measured on."""
    return record[f"{split_of(record)}_accuracy"]


def loss_of(record: Mapping[str, Any]) -> Any:
    """The loss on the split that the record was measured on."""
    return record[f"{split_of(record)}_loss"]
