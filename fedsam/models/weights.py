"""Weights of a local file, put into a model before it is trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedsam.errors import InputError
from fedsam.storage.paths import expanded

log = logging.getLogger("fedsam")

AROUND = "state_dict", "model", "model_state_dict", "module"
"""Names under which files hold a state beside other things."""


def put_in(module: nn.Module, file: str) -> None:
    """Copy the tensors of a file into those of the same name; the rest keep their initial values, which is told.

    Args:
        file: `.safetensors`, or what `torch.save` wrote of tensors alone; nothing in it is executed.

    Raises:
        InputError: under "weights": it cannot be read, or nothing in it fits.
    """
    given, own = read(file), module.state_dict(keep_vars=True)
    fitting = {name for name, tensor in own.items() if name in given and given[name].shape == tensor.shape}
    if not fitting:
        told = f"has no tensor that fits: it has {_some(given)}, the model {_some(own)}"
        raise InputError("weights", file, told)
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(given[name])
    other = [name for name in own if name in given and name not in fitting]
    for names, what in (
        ([name for name in own if name not in given], "are not in it and keep their initial values"),
        (other, "have another shape there and keep their initial values"),
        ([name for name in given if name not in own], "of it are not in the model"),
    ):
        if names:
            log.warning("%s: %s %s", file, _some(names), what)


def read(file: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises:
        InputError: under "weights": there is none, or it is no such file.
    """
    path = expanded(file, "weights")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about a file is told by what is in it
            held: Any = _safe(path) if path.suffix == ".safetensors" else _torch(path)
    except Exception as error:  # bytes that are no pickle raise whatever their first ones stand for
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        told = f"cannot be read as tensors ({first}); must be .safetensors, or a state_dict that torch.save wrote"
        raise InputError("weights", file, told) from None
    for name in AROUND:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise InputError("weights", file, "is no state_dict, tensors by their names")
    return dict(held)


def _safe(path: Path) -> dict[str, Tensor]:
    import safetensors.torch

    return safetensors.torch.load(path.read_bytes())


def _torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _some(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
