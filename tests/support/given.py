"""A small table of three classes and seven users, that is given as an object."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsam.rng import stream

RNG = stream(0, "objects")
X = RNG.normal(size=(120, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
USERS = np.array([f"user{n % 7}" for n in range(120)])
QUICK: dict[str, Any] = {"rounds": 2, "cohort": 2}
OWNER = np.arange(96) % 8
"""A client for each of the training examples that are left where no test set is given."""
