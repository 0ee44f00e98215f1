"""A foreign object for one call: nothing of it leaks into this process, and its state is kept as tensors."""

from __future__ import annotations

import logging
import pickle
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from flwr.supercore.task_identity import TaskIdentity

from fedsam.algorithm.strategy import State
from fedsam.errors import RunError


@contextmanager
def apart(seed: int) -> Iterator[list[str]]:
    """Keep Flower's log lines and draws to itself: warnings are collected, global generators stay as they are. Where
    this process is none of Flower's, give it the identity without which Flower makes no message.
    """
    logger, warned = logging.getLogger("flwr"), list[str]()
    identity = {name: getattr(TaskIdentity, name) for name in ("_run_id", "_task_id", "_node_id")}

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            warned.append(" ".join(record.getMessage().split()))
        return False

    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    logger.addFilter(keep)
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        for name, known in identity.items():
            setattr(TaskIdentity, name, 1 if known is None else known)
        yield warned
    finally:
        logger.removeFilter(keep)
        for name, known in identity.items():
            setattr(TaskIdentity, name, known)
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


FORMS = {"<": ArrayRecord, "{": dict, "[": list, "(": tuple}
ENTRY = re.compile(r"(\w+)(?:([<{\[(])(\d+)(?::(.*))?[>}\])])?", re.DOTALL)


def kept(flower: object, fresh: object, name: str) -> State:
    """What an object holds that a fresh one does not, as tensors: `count`, `momentum_vector[0]`, `m_t{0:theta}`; the
    number is the place of an entry, the brackets say what held it.
    """
    state: State = {}
    for attribute, value in vars(flower).items():
        if not same(value, getattr(fresh, attribute, None)):
            tensors = _tensors(attribute, value)
            if not tensors:
                what = f"{attribute!r}, a {type(value).__name__},"
                raise RunError(f"{name} holds {what} between rounds; only numpy arrays and numbers can be saved")
            state |= tensors
    return state


def _tensors(attribute: str, value: Any) -> State:
    """The entries of an attribute; none if some of it is neither array nor number."""
    mark, form = next(((m, f) for m, f in FORMS.items() if isinstance(value, f)), ("", None))
    if form is None:
        leaves, names = [value], [attribute]
    elif mark in "<{":
        leaves, close = list(value.values()), {"<": ">", "{": "}"}[mark]
        names = [f"{attribute}{mark}{place}:{key}{close}" for place, key in enumerate(value)]
    else:
        leaves, close = list(value), {"[": "]", "(": ")"}[mark]
        names = [f"{attribute}{mark}{place}{close}" for place in range(len(leaves))]
    if mark == "<":
        leaves = [array.numpy() for array in leaves]
    if not all(isinstance(leaf, np.ndarray | np.number | bool | int | float) for leaf in leaves):
        return {}
    return {n: torch.from_numpy(np.array(leaf, order="C")) for n, leaf in zip(names, leaves, strict=True)}


def restore(flower: object, state: State) -> None:
    """Give an object what `kept` found in another."""
    entries: dict[tuple[str, str], list[tuple[int, str, Any]]] = {}
    for name, tensor in state.items():
        match = ENTRY.fullmatch(name)
        assert match is not None, name
        leaf = tensor.cpu().numpy().copy() if tensor.ndim else tensor.item()
        entries.setdefault((match[1], match[2] or ""), []).append((int(match[3] or 0), match[4] or "", leaf))
    for (attribute, mark), found in entries.items():
        found.sort(key=lambda entry: entry[0])
        pairs = {key: Array(np.asarray(leaf)) if mark == "<" else leaf for _, key, leaf in found}
        leaves = [leaf for _, _, leaf in found]
        held: Any = FORMS[mark](pairs if mark in "<{" else leaves) if mark else leaves[0]
        setattr(flower, attribute, held)


def same(one: Any, other: Any) -> bool:
    """Whether two objects hold the same; what can be neither compared nor pickled does not."""
    try:
        if bool(one == other):
            return True
    except (ValueError, RuntimeError):  # arrays, tensors
        pass
    try:
        return type(one) is type(other) and pickle.dumps(one) == pickle.dumps(other)
    except Exception:
        return False
