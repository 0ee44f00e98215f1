"""The numbers that Coldenhoff et al. 2022 published."""

from __future__ import annotations

from typing import Any

import numpy as np

TABLE_1 = {20: (71.22, 65.15), 30: (70.77, 64.03), 40: (70.98, 64.17)}  # seed: test accuracy of SAM, SGD
CURVES = {16: (79.89, 74.75), 64: (74.81, 68.23), 128: (70.83, 64.22)}  # batch size: last epoch of SAM, SGD
LOSSES = {16: (0.0084, 0.0537), 64: (0.0037, 0.0214), 128: (0.0022, 0.0004)}  # batch size: training loss of SAM, SGD
TABLE_2 = {  # seed: test accuracy and training loss (1e-5) of SAM, of ASAM
    1: (70.06, 8.72, 68.65, 27.5),
    2: (65.44, 7.19, 65.77, 25.0),
    3: (65.49, 9.50, 66.23, 24.7),
}


def number(value: float | np.floating[Any]) -> str:
    """As a claim quotes it."""
    return f"{value:.3g}"
