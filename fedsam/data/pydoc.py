"""The text of Python's own documentation topics, which every Python carries: English, character by character.

Shapes: N sequences, T characters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.data.tokens import in_blocks
from fedsam.errors import InputError
from fedsam.tasks.base import Task

OTHER = "\ufffd"
CHARACTERS = ("\n", *map(chr, range(32, 127)), OTHER)
"""Newline, what ASCII prints, and one for every other character."""
TEST_SHARE = 0.1


class Pydoc(Partitioned):
    """The topics that `help("for")` and the like show (`pydoc_data.topics`, of the standard library): 465,000
    characters in 79 topics in Python 3.11. A client is a topic.

    The vocabulary is 97 characters, whatever the topics hold; an example is a block of `length` of them with the next
    one as each one's target. The last tenth of each topic is the test set. Groups are the topics.

    The text is that of the running Python: another version has other topics and other words, and so other numbers.
    `partition.json` holds the checksum of what was read, and a run is resumed with the same text only.
    """

    task: ClassVar[str | Task] = "sequence"
    offers = frozenset({"tokens", "groups"})

    length: int = key(64, "characters of an example", "80 in McMahan et al. 2017, Shakespeare", ge=1, le=10**5)
    partition: Partition = key(
        "natural",
        "how the training examples are divided among the clients",
        "a client a topic; LEAF, Caldas et al. 2018",
    )

    def read(self) -> tuple[Spec, Split, Split]:
        """Read the topics.

        Raises:
            InputError: this Python came without them.
        """
        return _read(self.length)


@lru_cache(maxsize=4)
def _read(length: int) -> tuple[Spec, Split, Split]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        told = "this Python came without pydoc_data.topics, of the standard library; use another Python"
        raise InputError("name", "pydoc", told) from None
    names = tuple(sorted(name for name, text in topics.items() if len(text) > 1))
    texts = [encoded(topics[name]) for name in names]
    cuts = [len(text) - max(2, round(TEST_SHARE * len(text))) for text in texts]
    spec = Spec(
        len(CHARACTERS),
        (length,),
        dtype="int64",
        target_shape=(length,),
        vocabulary=len(CHARACTERS),
        names=CHARACTERS,
        groups=names,
    )
    train = _joined([text[:cut] for text, cut in zip(texts, cuts, strict=True)], length)
    return spec, train, _joined([text[cut:] for text, cut in zip(texts, cuts, strict=True)], length)


def encoded(text: str) -> np.ndarray:
    """Characters as positions in `CHARACTERS`, int64."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    known = (points >= 32) & (points < 127)
    return np.where(known, points - 31, np.where(points == ord("\n"), 0, len(CHARACTERS) - 1))


def _joined(texts: list[np.ndarray], length: int) -> Split:
    parts = [in_blocks(text, length) for text in texts]
    inputs, targets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    groups = np.repeat(np.arange(len(parts)), [len(part) for part, _ in parts])
    return Split(inputs, targets, groups).read_only()
