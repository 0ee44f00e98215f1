"""Diabetes progression: a table of ten measurements of 442 patients, and one number to predict."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.embedded_table import EmbeddedTable, divided, embedded_table
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.tasks.base import Task


class Diabetes(EmbeddedTable):
    """Disease progression one year after ten measurements of 442 patients (Efron, Hastie, Johnstone and Tibshirani,
    "Least angle regression", Annals of Statistics 32, 2004).

    The target is in standard deviations (77.1) from its mean (152.1), so that a step of usual length learns it.
    """

    task: ClassVar[str | Task] = "regression"

    clients: int = key(20, "number of clients", "16 or 17 patients each", ge=1, le=10**7)
    partition: Partition = key("iid", "how the training examples are divided among the clients", "no classes")

    def read(self) -> tuple[Spec, Split, Split]:
        """Read the table that is installed with scikit-learn."""
        inputs = embedded_table("diabetes", "diabetes_data_raw.csv.gz", delimiter=None)
        targets = embedded_table("diabetes", "diabetes_target.csv.gz", delimiter=None)
        scaled = ((targets - targets.mean()) / targets.std()).astype(np.float32)
        return Spec(None, inputs.shape[1:]), *divided("diabetes", inputs, scaled)
