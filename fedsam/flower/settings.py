"""The keys of a run as a Flower app's configuration: `[tool.flwr.app.config]` in pyproject.toml, and `--run-config`.

`make format` writes the table into pyproject.toml.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from fedsam.errors import InputError
from fedsam.run import Run, describe_keys

Value = bool | int | float | str

OWN = "default"  # the value of a key whose default depends on the component that is chosen
RESUME, MORE = "resume", "more"  # keys of the app alone


def table() -> dict[str, Value]:
    """Every key of a run with its default. Flower's configuration has no empty value: `none` stands for it, and
    `default` for the chosen component's own, where components differ (`client.rho` of SAM and ASAM).

    Beside them `resume`, a run directory to go on with, and `more`, further `key=value` pairs, for keys of components
    of one's own, which cannot be listed.
    """
    found: dict[str, Value] = {}
    for row in describe_keys():
        default = "none" if row.default is None else row.default
        found[row.key] = default if found.get(row.key, default) == default else OWN
    return {**found, RESUME: "", MORE: ""}


def run_of(config: Mapping[str, Value], **fallback: Value) -> Run:
    """The run that an app's configuration describes.

    Args:
        config: `context.run_config`, with every key of the table.
        fallback: values of keys (dots as double underscores) that are not given.

    Raises:
        InputError: as for a run described elsewhere.
    """
    defaults = table()
    keys: dict[str, Any] = {name.replace("__", "."): value for name, value in fallback.items()}
    keys |= {
        name: value for name, value in config.items() if name not in (RESUME, MORE) and value != defaults.get(name)
    }
    for pair in shlex.split(str(config.get(MORE, ""))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(MORE, pair, "must be key=value pairs, separated by spaces")
        keys[name] = value
    if keys.setdefault("engine.name", "flower") not in ("flower", "auto"):
        allowed = "a Flower app is run by Flower; leave it out, or use fedsam run for another engine"
        raise InputError("engine.name", keys["engine.name"], allowed)
    return Run.from_keys({**keys, "engine.name": "flower"})


def toml() -> str:
    """The table as TOML."""
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in table().items())
