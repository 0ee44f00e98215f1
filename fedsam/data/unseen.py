"""Groups that are held out: users or domains that no client has, and on which the model is tested apart.

Shapes: N examples, M of them of groups that are held out.
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from fedsam.data.base import Split
from fedsam.errors import InputError
from fedsam.rng import stream

log = logging.getLogger("fedsam")

NAME = "unseen"
"""Of the test split, and with it the first word of what records say of it."""
SHOWN = 20  # names in a message


def _as_text(given: Any) -> Any:
    """A number, or the list of a TOML file, as it is written on a command line."""
    if isinstance(given, bool):
        return given
    if isinstance(given, list | tuple):
        return ",".join(map(str, given)) + "," * (len(given) == 1)
    return str(given) if isinstance(given, int) else given


Groups = Annotated[str, BeforeValidator(_as_text)]
"""How many groups, or names between commas, also in brackets: a sweep goes through `[a,b],[c,d]` one after the other.
"""


def chosen(asked: str, names: tuple[str, ...], train: Split, test: Split | None, seed: int) -> np.ndarray:
    """The groups that are held out, positions in `names`, int64, ascending.

    A number is drawn from the groups that have training examples, keyed by the seed. A name that is itself a number
    is told from it by a comma: `30,`.

    Args:
        asked: the value of `data.unseen`, not empty.
        names: of all groups.
        train, test: the examples; the test examples are None where they are not to be looked at.
        seed: of the run.

    Raises:
        InputError: under "unseen": there are no such groups, or no training example would be left.
    """
    if train.groups is None:
        told = "needs to know which user or domain each example comes from, and this data set does not say"
        raise InputError("unseen", asked, f"{told}; leave it out")
    there = np.unique(train.groups)
    if re.fullmatch(r"\s*[0-9]+\s*", asked):
        number = int(asked)
        if not 1 <= number < len(there):
            told = f"there are {len(there)} groups with training examples, of which one must be left"
            raise InputError("unseen", asked, f"{told}: must be from 1 to {len(there) - 1}")
        return np.sort(stream(seed, NAME).permutation(there)[:number]).astype(np.int64)
    wanted = [name.strip() for name in asked.strip().removeprefix("[").removesuffix("]").split(",") if name.strip()]
    place = {name: at for at, name in enumerate(names)}
    if unknown := [name for name in wanted if name not in place]:
        more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
        raise InputError("unseen", asked, f"there is no {unknown[0]!r}; there are {', '.join(names[:SHOWN])}{more}")
    if not wanted:
        raise InputError("unseen", asked, "must be a number, or names of groups between commas")
    out = np.array(sorted({place[name] for name in wanted}), dtype=np.int64)
    if not np.setdiff1d(there, out).size:
        raise InputError("unseen", asked, "names every group that has training examples; one must be left")
    having = there if test is None or test.groups is None else np.union1d(there, test.groups)
    if test is not None and (empty := np.setdiff1d(out, having)).size:
        raise InputError("unseen", asked, f"the group {names[empty[0]]!r} has no example")
    return out


def part(train: Split, out: np.ndarray) -> Split:
    """The training examples of the groups that are left."""
    assert train.groups is not None
    return train.at(np.flatnonzero(~np.isin(train.groups, out)))


def part_tests(train: Split, test: Split, out: np.ndarray, asked: str) -> tuple[Split, Split]:
    """The test examples of the groups that are left, and all examples of those that are not: first those that were
    for training, then those for test.

    Where it is not known of the test examples where they come from, all of them stay.

    Args:
        train: all training examples.
        asked: the value of `data.unseen`, for messages.

    Raises:
        InputError: under "unseen": no test example would be left.
    """
    assert train.groups is not None
    of_train = train.at(np.flatnonzero(np.isin(train.groups, out)))
    if test.groups is None:
        log.warning("where the test examples come from is not known: the unseen groups are those of training alone")
        return test, of_train
    held_N = np.isin(test.groups, out)
    if held_N.all():
        raise InputError("unseen", asked, "leaves no test example; one group with some must be left")
    return test.at(np.flatnonzero(~held_N)), of_train.with_(test.at(np.flatnonzero(held_N)))
