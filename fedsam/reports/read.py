"""Run directories as the report needs them: what they hold, read and checked, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedsam.errors import Damaged, InputError
from fedsam.measure.names import split_of
from fedsam.measure.score import ACCURACY, LOSS, Score
from fedsam.reports.schema import Clients, Environment, Geometry, Keys, Metric, Partition, Record, check
from fedsam.runs.manifest import read_manifest
from fedsam.runs.naming import directory_names
from fedsam.runs.records import FILE as METRICS
from fedsam.runs.records import read
from fedsam.storage.files import read_object

FORMAT = 1  # of run.json and geometry.json


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
        scores: how what is recorded is told: the metric that the run is judged by, the loss, and others.
        geometry, local, partition: geometry.json, clients.json and partition.json.
        setting: what the comparison that the directory lies in calls its setting.
    """

    path: Path
    name: str
    keys: dict[str, Any]
    digest: str
    environment: dict[str, Any]
    metrics: list[dict[str, Any]]
    scores: Sequence[Score] = (ACCURACY, LOSS)
    geometry: dict[str, Any] | None = None
    local: dict[str, Any] | None = None
    partition: dict[str, Any] | None = None
    setting: str | None = None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.keys.get("seed", 0))

    @property
    def score(self) -> Score:
        """How the metric is told that the run is judged by."""
        return self.scores[0]

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
    runs = list(found.values())
    for run in runs:
        if run.score != runs[0].score:
            what = f"is judged by {run.score.words}, the others by {runs[0].score.words}; report on it apart"
            left_out.append(str(_wrong(run.path, what)))
    return [run for run in runs if run.score == runs[0].score], left_out


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
    keys, environment = description.get("keys"), description.get("environment", {})
    if not isinstance(keys, dict):
        raise _wrong(path, "run.json describes no run (it has no keys); restore it from a copy")
    _checked(path / "run.json", Keys, keys, "restore it from a copy")
    _checked(path / "run.json", Environment, environment, "restore it from a copy")
    again = "write it anew, or remove it"
    told = description.get("metrics", [asdict(score) for score in (ACCURACY, LOSS)])
    _checked(path / "run.json", list[Metric], told, "restore it from a copy", "metrics.")
    scores = [Score(each["name"], each["better"], each["unit"]) for each in told] or [ACCURACY]
    headline = scores[0].name
    geometry = _optional(path / "geometry.json", Geometry, f"{again}: fedsam geometry {path}", headline)
    name, seed = path.resolve().name, keys.get("seed", 0)
    settings = {place: setting for setting, place in directory_names(_names(path.resolve().parent)).items()}
    return Loaded(
        path,
        name,
        keys,
        str(description.get("digest", "")),
        environment,
        _metrics(path, headline),
        scores,
        geometry,
        _clients(path, headline),
        _optional(path / "partition.json", Partition, again),
        settings.get(name.removesuffix(f"-seed{seed}")) if name.endswith(f"-seed{seed}") else None,
    )


def _metrics(path: Path, headline: str) -> list[dict[str, Any]]:
    file, cure = path / METRICS, "restore it from a copy"
    try:
        manifest = read_manifest(path / "checkpoint", cure)  # first: a run that goes on adds to its records
        found = read(file, manifest.records if manifest else None, cure, tail=True)
    except Damaged as error:
        raise _wrong(path, error.allowed.removeprefix(f"{path}: ")) from None
    for number, record in enumerate(found, 1):
        _checked(file, Record, record, cure, f"line {number}, ")
    if not found:
        how = f"wait for its first evaluation, or continue it with fedsam run --resume {path}"
        raise _wrong(path, f"has no recorded round yet; {how}")
    names = [f"{split_of(record)}_{headline}" for record in found]
    if missing := [name for name, record in zip(names, found, strict=True) if name not in record]:
        raise _wrong(path, f"{METRICS} cannot be read (a record lacks {missing[0]}); {cure}")
    return [record | {name: float(record[name])} for name, record in zip(names, found, strict=True)]


def _clients(path: Path, headline: str) -> dict[str, Any] | None:
    cure = f"write it anew: fedsam run --resume {path}"
    found = _optional(path / "clients.json", Clients, cure, headline)
    manifest = read_manifest(path / "checkpoint", cure)
    wanted = manifest and manifest.files.get("clients.json")
    if wanted and found and sha256((path / "clients.json").read_bytes()).hexdigest() != wanted:
        raise _wrong(path, f"clients.json is not the one that the run ended in (its sha256 is another); {cure}")
    return found


def _optional(file: Path, kind: Any, cure: str, headline: str = "") -> dict[str, Any] | None:
    if not file.exists():
        return None
    found = _object(file, cure)
    if kind is Geometry and found.get("format", FORMAT) != FORMAT:
        written = f"{file.name} has format {found['format']!r}, this version reads format {FORMAT}"
        raise _wrong(file.parent, f"{written}; {cure}")
    _checked(file, kind, found, cure, headline=headline)
    return found


def _checked(file: Path, kind: Any, found: Any, cure: str, where: str = "", headline: str = "") -> None:
    try:
        check(kind, found, headline)
    except ValueError as error:
        raise _wrong(file.parent, f"{file.name} cannot be read ({where}{error}); {cure}") from None


def _object(file: Path, cure: str) -> dict[str, Any]:
    try:
        return read_object(file, cure)
    except (FileNotFoundError, Damaged) as error:
        gone = f"{file.name} is gone; {cure}"
        what = str(error).replace(str(file), file.name) if isinstance(error, Damaged) else gone
        raise _wrong(file.parent, what) from None


def _names(comparison: Path) -> list[str]:
    """The settings of a comparison in their order; empty for another directory."""
    try:
        return [str(row["setting"]) for row in json.loads((comparison / "compare.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _wrong(path: Path, allowed: str) -> InputError:
    return InputError(str(path), InputError.ABSENT, allowed)
