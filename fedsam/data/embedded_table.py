"""Tables that scikit-learn carries: numbers of each example as inputs, nothing to download.

Shapes: N examples, D columns.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedsam.data.base import Split
from fedsam.data.stored import Partitioned
from fedsam.errors import InputError
from fedsam.rng import stream

TEST_SHARE = 0.25


class EmbeddedTable(Partitioned):
    """A table whose columns are standardised by the training examples; a quarter is the test set, and which does not
    depend on the run's seed.
    """

    offers = frozenset()


@lru_cache(maxsize=4)
def embedded_table(name: str, file: str, header: int = 0, delimiter: str | None = ",") -> np.ndarray:
    """A file of scikit-learn's, read without importing it, which would take two seconds; float64 [N, D].

    Args:
        name: of the data set, for messages.
        file: its name there, also if it is packed.
        header: lines before the first example.
        delimiter: between columns; None = white space.

    Raises:
        InputError: scikit-learn is not installed, or no longer carries the file.
    """
    found = importlib.util.find_spec("sklearn")
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0] if folders else "") / "datasets" / "data" / file
    if not path.is_file():
        raise InputError("name", name, f"needs scikit-learn, which carries it as {file}; install it")
    return np.loadtxt(path, delimiter=delimiter, skiprows=header, encoding="ascii")


def divided(name: str, inputs: np.ndarray, targets: np.ndarray) -> tuple[Split, Split]:
    """Training and test examples, the inputs standardised: (x − mean) / deviation, both of the training examples."""
    order = stream(0, name).permutation(len(inputs))
    cut = round(TEST_SHARE * len(inputs))
    test, train = np.sort(order[:cut]), np.sort(order[cut:])
    scaled = ((inputs - inputs[train].mean(axis=0)) / inputs[train].std(axis=0)).astype(np.float32)
    return Split(scaled[train], targets[train]).read_only(), Split(scaled[test], targets[test]).read_only()
