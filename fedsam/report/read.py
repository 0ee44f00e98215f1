"""Run directories as the report needs them: what they hold, read and checked, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsam.errors import InputError
from fedsam.measured import accuracy_of, split_of
from fedsam.naming import directory_names

FORMAT = 1  # of run.json and geometry.json

Record = dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """What a run directory holds; None is what it does not.

    Args:
        path: the directory, as it was given or found.
        name: its own name.
        keys: every key of the run, dotted.
        digest: sha256 of the keys that decide the result.
        environment: hardware, versions, commit and engine.
        metrics: the recorded rounds, in order; at least one.
        geometry, local, partition: geometry.json, clients.json and partition.json.
        setting: what the comparison that the directory lies in calls its setting.
    """

    path: Path
    name: str
    keys: dict[str, Any]
    digest: str
    environment: dict[str, Any]
    metrics: list[Record]
    geometry: dict[str, Any] | None = None
    local: dict[str, Any] | None = None
    partition: dict[str, Any] | None = None
    setting: str | None = None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.keys.get("seed", 0))

    @property
    def recorded(self) -> int:
        """The last round that is recorded."""
        return int(self.metrics[-1]["round"])

    @property
    def finished(self) -> bool:
        """Whether every round of the run is behind it."""
        return self.recorded >= int(self.keys.get("rounds", 0))


def load(paths: Sequence[Path]) -> list[Loaded]:
    """The runs at `paths`; see `gather`."""
    return gather(paths)[0]


def gather(paths: Sequence[Path]) -> tuple[list[Loaded], list[str]]:
    """The runs at `paths`, and why others that lie in them are left out.

    Args:
        paths: run directories, or directories whose children are run directories. A run that is named itself must be
            readable; of those in a directory it is enough that one is.

    Returns:
        The runs, those of a comparison in its order, none twice; one line for each run that was left out.

    Raises:
        InputError: under the path at fault, with what to do.
    """
    if not paths:
        raise _wrong(Path(), "there is nothing to report on; give at least one run directory")
    found: dict[Path, Loaded] = {}
    left_out: list[str] = []
    for path in paths:
        for loaded in _at(path, left_out):
            found.setdefault(loaded.path.resolve(), loaded)
    return list(found.values()), left_out


def _at(path: Path, left_out: list[str]) -> list[Loaded]:
    if not path.exists():
        raise _wrong(path, "there is nothing there; give a run directory, or a directory of run directories")
    if not path.is_dir():
        raise _wrong(path, "is a file; give the run directory that it lies in")
    if (path / "run.json").exists():
        return [_read(path)]
    inside = sorted(path.iterdir())
    if not inside:
        raise _wrong(path, f"is empty; start a run in it with fedsam run out={path}")
    runs, errors = [], []
    for child in inside:
        if (child / "run.json").exists():
            try:
                runs.append(_read(child))
            except InputError as error:
                errors.append(error)
    if not runs and errors:
        raise errors[0]
    if not runs:
        if (path / "metrics.jsonl").exists():
            raise _wrong(path, "has metrics.jsonl but no run.json; restore it from a copy, or start the run anew")
        raise _wrong(path, "is not a run: there is no run.json in it nor in a directory in it; give a run directory")
    left_out += map(str, errors)
    order = _names(path)
    place = {name: number for number, name in enumerate(order)}
    return sorted(runs, key=lambda run: (place.get(run.setting or "", len(place)), run.setting or "", _stem(run)))


def _stem(run: Loaded) -> tuple[str, int]:
    return run.name.removesuffix(f"-seed{run.seed}"), run.seed


def _read(path: Path) -> Loaded:
    description = _object(path / "run.json", "it was cut short or damaged; start the run anew with another out")
    if description.get("format") != FORMAT:
        written = f"run.json has format {description.get('format')!r}, this version of fedsam reads format {FORMAT}"
        raise _wrong(path, f"{written}; use the version that wrote it")
    keys = description.get("keys")
    if not isinstance(keys, dict):
        raise _wrong(path, "run.json describes no run (it has no keys); restore it from a copy")
    again = "write it anew, or remove it"
    geometry = _optional(path / "geometry.json", f"{again}: fedsam geometry {path}")
    if geometry is not None and geometry.get("format", FORMAT) != FORMAT:
        written = f"geometry.json has format {geometry['format']!r}, this version reads format {FORMAT}"
        raise _wrong(path, f"{written}; {again}: fedsam geometry {path}")
    name, seed = path.resolve().name, keys.get("seed", 0)
    settings = {place: setting for setting, place in directory_names(_names(path.resolve().parent)).items()}
    return Loaded(
        path,
        name,
        keys,
        str(description.get("digest", "")),
        description.get("environment") or {},
        _metrics(path),
        geometry,
        _optional(path / "clients.json", again),
        _optional(path / "partition.json", again),
        settings.get(name.removesuffix(f"-seed{seed}")) if name.endswith(f"-seed{seed}") else None,
    )


def _metrics(path: Path) -> list[Record]:
    file, records = path / "metrics.jsonl", []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            accuracy = {f"{split_of(record)}_accuracy": float(accuracy_of(record))}
            records.append(record | {"round": int(record["round"])} | accuracy)
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                break  # the run may be going on
            raise _wrong(path, f"line {number} of metrics.jsonl cannot be read; restore it from a copy") from None
    if not records:
        how = f"wait for its first evaluation, or continue it with fedsam run --resume {path}"
        raise _wrong(path, f"has no recorded round yet; {how}")
    return records


def _optional(file: Path, cure: str) -> dict[str, Any] | None:
    return _object(file, cure) if file.exists() else None


def _object(file: Path, cure: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise _wrong(file.parent, f"{file.name} cannot be read ({error}); {cure}") from None
    return found


def _names(comparison: Path) -> list[str]:
    """The settings of a comparison in their order; empty for another directory."""
    try:
        return [str(row["setting"]) for row in json.loads((comparison / "compare.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _wrong(path: Path, allowed: str) -> InputError:
    return InputError(str(path), InputError.ABSENT, allowed)
