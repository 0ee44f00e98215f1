"""Users, domains and cities by their names: numbered alike in every split.

Shapes: N examples, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def numbered(*each: Sequence[object] | np.ndarray | None) -> tuple[tuple[str, ...], list[np.ndarray | None]]:
    """The names of all groups, and of each split the group of each example, int64 [N].

    Names that are all whole numbers are in the order of the numbers, others in that of the alphabet.

    Args:
        each: of each split the name of every example's group; None where they are not known.

    >>> names, (train, test) = numbered(["10", "9", "10"], ["2"])
    >>> names, train.tolist(), test.tolist()
    (('2', '9', '10'), [2, 1, 2], [0])
    """
    texts = [None if one is None else list(map(str, one)) for one in each]
    there = {name for one in texts if one is not None for name in one}
    whole = all(name.isdecimal() for name in there)
    names = sorted(there, key=lambda name: (int(name), name)) if whole else sorted(there)
    place = {name: at for at, name in enumerate(names)}
    return tuple(names), [
        None if one is None else np.fromiter((place[name] for name in one), dtype=np.int64, count=len(one))
        for one in texts
    ]
