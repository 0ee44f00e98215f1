"""What a run must find unchanged when it is resumed, and what no checkpoint holds: its data, its model's constants.

Each part has a name in words, and a checksum; they are in run.json.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.config import Component, Config
from fedsam.data.base import Federation
from fedsam.data.digest import digest
from fedsam.engine.context import RunContext
from fedsam.errors import Damaged
from fedsam.run import Run

log = logging.getLogger("fedsam")

INITIAL = "initial weights of the model"
"""They matter only as long as there is no checkpoint."""


def fingerprint_of(run: Run, federation: Federation, context: RunContext) -> dict[str, dict[str, str]]:
    """The checksums of data and model, and of the files in which the user's own parts are written."""
    return {"data": dict(federation.digests), "model": _of_model(context), "sources": dict(_sources(run))}


def check_unchanged(then: Mapping[str, Any], now: Mapping[str, Any], path: Path, begun: bool) -> None:
    """Refuse to go on with other data or another model than a run was started with; of other source files it is only
    said.

    Args:
        then: the fingerprint in run.json; what is not in it is not compared.
        now: as it is now.
        path: the run directory.
        begun: whether there is a checkpoint.

    Raises:
        Damaged: the data or the model are others.
    """
    changed = {group: _changed(then.get(group), now[group]) for group in now}
    lost = [name for group in ("data", "model") for name in changed[group] if not (begun and name == INITIAL)]
    if lost:
        cure = f"put back what it was started with, or start it anew: fedsam run {path / 'run.json'} out=NEW"
        what = f"{' and '.join(lost[:3])} changed since the run was started"
        raise Damaged(f"{path} cannot be used: {what}; {cure}")
    if changed["sources"]:
        log.warning("%s changed since the run was started; its results may, too", ", ".join(changed["sources"]))


def _changed(then: Any, now: Mapping[str, str]) -> list[str]:
    then = then if isinstance(then, dict) else {}
    return [name for name in now if name in then and then[name] != now[name]]


def _of_model(context: RunContext) -> dict[str, str]:
    module, trained = context.module, set(context.layout.names)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    parts: dict[str, Callable[[], str]] = {
        "parameters of the model": lambda: digest(sorted((name, tuple(t.shape)) for name, t in tensors.items())),
        "constants of the model": lambda: _summed({n: t for n, t in tensors.items() if n not in trained}),
        INITIAL: lambda: _summed({n: t for n, t in tensors.items() if n in trained}),
    }
    found: dict[str, str] = {}
    for name, part in parts.items():
        with suppress(RuntimeError, TypeError, ValueError):  # of tensors of a kind that has no array
            found[name] = part()
    return found


def _summed(tensors: Mapping[str, Tensor]) -> str:
    return digest(*(part for name, tensor in tensors.items() for part in (name, _array(tensor))))


def _array(tensor: Tensor) -> np.ndarray:
    """On the host, in single precision: a run may be measured in another."""
    found = tensor.detach().cpu()
    array: np.ndarray = (found.to(torch.float32) if found.is_floating_point() else found).numpy()
    return array


def _sources(run: Run) -> Iterator[tuple[str, str]]:
    for part in _parts(run):
        module, colon, _ = part.name.partition(":")
        file = getattr(sys.modules.get(module), "__file__", None)
        if colon and file:
            with suppress(OSError):
                yield module, hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _parts(held: Config) -> Iterator[Component]:
    for field in type(held).model_fields:
        value = getattr(held, field)
        if isinstance(value, Component):
            yield value
            yield from _parts(value)
