"""Breast cancer: a table of thirty measurements of 569 tumours, in two classes."""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.embedded_table import EmbeddedTable, divided, embedded_table
from fedsam.data.spec import Spec


class BreastCancer(EmbeddedTable):
    """Malignant or benign, by thirty measurements of cell nuclei (Street, Wolberg and Mangasarian, "Nuclear feature
    extraction for breast tumor diagnosis", 1993).
    """

    clients: int = key(20, "number of clients", "21 or 22 tumours each", ge=1, le=10**7)

    def read(self) -> tuple[Spec, Split, Split]:
        """Read the table that is installed with scikit-learn."""
        table = embedded_table("breast_cancer", "breast_cancer.csv", header=1)
        inputs, classes = table[:, :-1], table[:, -1].astype(np.int64)
        spec = Spec(2, inputs.shape[1:], names=("malignant", "benign"))
        return spec, *divided("breast_cancer", inputs, classes)
