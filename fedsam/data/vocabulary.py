"""Texts as tokens: characters or words of a vocabulary that training texts have.

Shapes: N texts, T tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

FILL, OTHER = "", "\ufffd"
"""What fills up a text that is too short, token 0, and what stands for all that the vocabulary lacks, the last."""
Unit = Literal["characters", "words"]
WORD = re.compile(r"\S+")


class Vocabulary:
    """Numbered characters or words.

    Args:
        texts: of training.
        unit: what is a token: a character; or a word, what stands between white space, and the white space is lost.
        most: known ones at most, those that are most frequent; of two that are as frequent the first by the alphabet.

    >>> of = Vocabulary(["abba", "ab c"], "characters", 3)
    >>> of.names, of.encoded("bad").tolist()
    (('', ' ', 'a', 'b', '\\ufffd'), [3, 2, 4])
    >>> Vocabulary(["to be or not to be"], "words", 2).names
    ('', 'be ', 'to ', '\\ufffd')
    """

    def __init__(self, texts: Iterable[str], unit: Unit, most: int) -> None:
        self.unit = unit
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self._parts(text))
        frequent = sorted(counts, key=lambda part: (-counts[part], part))[:most]
        space = " " * (unit == "words")
        self.names = (FILL, *(f"{part}{space}" for part in sorted(frequent)), OTHER)
        self._place = {part: at for at, part in enumerate(sorted(frequent), 1)}

    def __len__(self) -> int:
        return len(self.names)

    def encoded(self, text: str) -> np.ndarray:
        """A text as tokens, int64 [T]."""
        parts, other = self._parts(text), len(self.names) - 1
        return np.fromiter((self._place.get(part, other) for part in parts), dtype=np.int64, count=len(parts))

    def filled(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Texts of one length, int64 [N, T]: what is longer is cut off, what is shorter is filled up at the end."""
        found = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in zip(found, texts, strict=True):
            tokens = self.encoded(text)[:length]
            row[: len(tokens)] = tokens
        return found

    def _parts(self, text: str) -> Sequence[str]:
        return text if self.unit == "characters" else WORD.findall(text)
