"""Keyed random streams: every random number of a run is a function of (seed, purpose, round, client).

The generator is Philox-4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), which is counter-
based: the key is (seed, purpose), the upper half of the 256-bit counter is (client, round), and the lower half counts
the numbers drawn. So two streams never overlap, and none depends on which others were used before it. Global RNG state
is neither read nor set.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

_WORD = (1 << 64) - 1


@lru_cache(maxsize=256)
def _word(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def stream(seed: int, purpose: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """The random stream of `purpose` in round `round` for client `client`.

    >>> stream(0, "cohort", round=3).random() == stream(0, "cohort", round=3).random()
    True
    >>> stream(0, "cohort", round=3).random() == stream(1, "cohort", round=3).random()
    False
    """
    counter = np.array([0, 0, client & _WORD, round & _WORD], dtype=np.uint64)
    key: Any = _Key(seed & _WORD, _word(purpose))
    return np.random.Generator(np.random.Philox(key, counter=counter))


class _Key(ISeedSequence):
    """Two words that are taken as they are. `Philox(key=...)` is the same generator, but first gathers entropy from the
    system, which takes longer than all else here.
    """

    def __init__(self, *words: int) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """The words."""
        return np.array(self.words, dtype=np.uint64)
