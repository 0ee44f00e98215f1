"""The words of a command that describe a run: TOML files, run.json files and key=value pairs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fedsam.border.foreign import import_nothing_of_others
from fedsam.errors import InputError
from fedsam.storage.paths import expanded
from fedsam.storage.text import read_text

LONGEST = 2**22  # bytes of a file of settings


def parse(arguments: list[str]) -> dict[str, Any]:
    """Dotted keys from TOML files, run.json files and key=value pairs; later ones win.

    Raises:
        InputError: a file cannot be read, or an argument is neither.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals:
            if not name.strip():
                raise InputError("", InputError.ABSENT, f"{argument!r}: there is no key before the =")
            found[name.strip()] = value.strip()
        elif argument.lower().endswith((".toml", ".json")):
            found |= _read(Path(argument))
        else:
            raise InputError(
                "",
                InputError.ABSENT,
                f"{argument!r} is neither key=value nor a .toml file; `fedsam keys` lists the keys",
            )
    for name, value in found.items():
        if isinstance(value, str) and ".py:" in value:
            found[name] = ",".join(_module(name, part) for part in value.split(","))
        if isinstance(value, list) and any(isinstance(part, list | dict) for part in value):
            raise InputError(name, value, "must be a value, or a list of values to try")
    out = found.get("out")
    if isinstance(out, str) and out:
        found["out"] = str(expanded(out, "out"))
    return found


def _module(key: str, name: str) -> str:
    """`mine:Net` for ./mine.py:Net, and `parts.mine:Net` for parts/mine.py:Net; any other name as it is.

    Raises:
        InputError: the file is not below the current directory, or no module could be called so.
    """
    file, python, attribute = name.partition(".py:")
    if not python:
        return name
    place = Path(os.path.abspath(file.strip()))  # not resolved: it is imported by the way it is named
    here = Path.cwd()
    parts = place.relative_to(here).parts if place.is_relative_to(here) else ()
    if not parts or not all(part.isidentifier() for part in parts):
        told = "names a file, which must lie below the current directory, with letters, digits and _ alone in its path"
        raise InputError(key, name, told)
    if not place.with_name(f"{place.name}.py").is_file():
        raise InputError(key, name, f"there is no file {place}.py")
    return f"{'.'.join(parts)}:{attribute}"


def _read(path: Path) -> dict[str, Any]:
    """Dotted keys of a TOML file, or of a run.json."""
    import tomllib

    def refused(why: str) -> InputError:
        return InputError("", InputError.ABSENT, f"{path} cannot be read: {why}")

    try:
        import_nothing_of_others(path)
        if not path.exists():
            raise InputError("", InputError.ABSENT, f"there is no file {path}")
        if path.stat().st_size > LONGEST:
            raise refused(f"settings have at most {LONGEST:,} bytes")
        text = read_text(path)
        if path.suffix.lower() == ".toml":
            return _dotted(tomllib.loads(text))
        keys = json.loads(text)
    except RecursionError:
        raise refused("it is nested too deeply") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise refused(str(error)) from None
    keys = keys.get("keys") if isinstance(keys, dict) else None
    if not isinstance(keys, dict):
        raise refused('it is no run.json, an object with an object of "keys" in it')
    return {name: value for name, value in keys.items() if name != "out" and value is not None}


def _dotted(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        group = isinstance(value, dict) and (value or (not prefix and _is_group(name)))  # else no value of a key
        found |= _dotted(value, f"{prefix}{name}.") if group else {prefix + name: value}
    return found


def _is_group(name: str) -> bool:
    from fedsam.config import root_of
    from fedsam.run import Run

    return name in Run.model_fields and root_of(Run.model_fields[name]) is not None
