"""Names of run directories, made of settings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from fedsam.config import Component, Config

LONGEST = 80  # letters
UNNAMED = {
    "engine",
    "track",
    "callbacks",
    "out",
    "checkpoint_every",
    "evaluate_every",
    "state_memory",
    "root",
    "seed",
} | {
    "memory",
    "disk",
    "disk_folder",
    "decoders",
}
"""Keys and groups that do not decide what a run ends in, and what stands at the end of its name."""


def directory_names(settings: Sequence[str]) -> dict[str, str]:
    """A directory's name for each setting, with a few of its checksum where that is too long or that of two.

    >>> directory_names(["client.name=asam data.alpha=0.1", "FedASAM + SWA"])
    {'client.name=asam data.alpha=0.1': 'asam-alpha0.1', 'FedASAM + SWA': 'fedasam-swa'}
    """
    return _apart({name: re.sub(r"[^0-9a-z.]+", "-", _brief(name).lower()).strip("-.") for name in settings})


def former_names(settings: Sequence[str]) -> dict[str, str]:
    """What these directories were called before 0.2: sweeps that were begun then go on in theirs."""
    return _apart({name: "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-") for name in settings})


def _apart(plain: dict[str, str]) -> dict[str, str]:
    plain = {name: short or "run" for name, short in plain.items()}
    taken = list(plain.values())
    return {
        name: found
        if len(found) <= LONGEST and taken.count(found) == 1
        else f"{found[:LONGEST]}-{sha256(name.encode()).hexdigest()[:8]}"
        for name, found in plain.items()
    }


def _brief(setting: str) -> str:
    """`asam alpha0.1` for client.name=asam data.alpha=0.1."""
    return re.sub(r"\b(?:[a-z]+\.)?(\w+)=", lambda key: "" if key[1] == "name" else key[1], setting)


def title(run: Config, main: Sequence[str], seed: int) -> str:
    """The name of a run: those of its main parts, then every other part and number that is not the default, its seed.

        digits-asam-fedavg-rho0.5-alpha0.05-seed0

    Only letters that every file system takes; where it is too long, its end is a checksum.

    Args:
        run: its description.
        main: the groups whose parts come first.
    """
    parts = [getattr(run, group).name.rpartition(":")[2] for group in main]
    several = Counter(key.rpartition(".")[2] for key, _, _ in _keys(run))
    changed = {key: value for key, value, default in _keys(run) if value != default and key not in main}
    keys = sorted(changed, key=lambda key: not key.startswith("client."))
    words = [_word(key, changed[key], several[key.rpartition(".")[2]] > 1) for key in keys]
    found = "-".join(safe(part) for part in [*parts, *words] if part != "none")
    if len(found) > LONGEST:
        found = f"{found[:LONGEST]}-{sha256(repr(changed).encode()).hexdigest()[:8]}"
    return f"{found}-seed{seed}"


def _keys(held: Config, group: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys that decide what a run ends in: dotted, with value and default; parts are there as their classes."""
    for field, info in type(held).model_fields.items():
        value = getattr(held, field)
        if field in UNNAMED:
            continue
        key = f"{group}.{field}" if group else field
        if isinstance(value, Component):
            yield key, value.name, info.default
            yield from _keys(value, group or field)
        else:
            yield key, value, info.default


def _word(key: str, value: Any, several: bool) -> str:
    """`rho0.5` for client.rho=0.5, with its group where others have such a key; `resnet8` for model.name=resnet8."""
    group, _, leaf = key.rpartition(".")
    name = f"{group}-{leaf}" if several and group else leaf
    if isinstance(value, bool) or value is None:
        return name if value else f"{name}-off"
    if isinstance(value, int | float):
        return f"{name}{value!r}".removesuffix(".0")
    text = str(value).rpartition("/")[2]
    return text.rpartition(":")[2] if not group else f"{leaf}-{text}"


def safe(text: str) -> str:
    """With those letters alone that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._+]+", "-", text).strip("-.")
