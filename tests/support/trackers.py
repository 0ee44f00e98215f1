"""Trackers and callbacks that take notes or fail, stand-ins for MLflow and W&B, and a reader of W&B's files."""

from __future__ import annotations

import importlib.machinery
import struct
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedsam import Listener, Run
from fedsam.runs.result import Result
from fedsam.runs.trackers.base import Begun, Ending, Tracker, Tracking

NOTES: list[tuple[Any, ...]] = []


class Noted(Tracker):
    """Takes notes."""

    def started(self, begun: Begun) -> Tracking:
        NOTES.append(("started", begun))
        return _Notes()


class _Notes(Tracking):
    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        NOTES.append(("recorded", round, dict(numbers)))

    def finished(self, ending: Ending, files: Sequence[Path]) -> None:
        NOTES.append(("finished", ending, [file.name for file in files]))


class NeverStarts(Tracker):
    """Fails at once."""

    def started(self, begun: Begun) -> Tracking:
        raise OSError("no\nroom")


class Breaks(Noted):
    """Fails at the second record."""

    def started(self, begun: Begun) -> Tracking:
        return _Breaking()


class _Breaking(_Notes):
    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        super().recorded(round, numbers)
        if round == 2:
            raise ConnectionError("gone")


class Told(Listener):
    """A callback that takes notes."""

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        NOTES.append(("started", run, engine, done))

    def recorded(self, record: dict[str, Any]) -> None:
        NOTES.append(("recorded", record))

    def finished(self, result: Result) -> None:
        NOTES.append(("finished", result))


class Fails(Told):
    """A callback that fails at its second record."""

    def recorded(self, record: dict[str, Any]) -> None:
        super().recorded(record)
        if record["round"] == 2:
            raise KeyError("mine")


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    """A module of this name, in place of whatever there is."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, name, module)


class Client:
    """As `mlflow.MlflowClient`, as far as it is used."""

    store: dict[str, Any]

    def __init__(self, tracking_uri: str | None) -> None:
        self.store = {"uri": tracking_uri, "params": {}, "metrics": [], "files": [], "status": ["RUNNING"]}
        NOTES.append(("client", self.store))

    def get_experiment_by_name(self, name: str) -> None:
        self.store["asked"] = name

    def create_experiment(self, name: str) -> str:
        return f"number of {name}"

    def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> Any:
        self.store |= {"experiment": experiment_id, "name": run_name, "tags": tags}
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

    def update_run(self, run_id: str, status: str) -> None:
        self.store["again"] = run_id, status

    def log_batch(self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = ()) -> None:
        assert run_id == "r1"
        assert len(params) <= 100
        self.store["params"] |= dict(params)
        self.store["metrics"] += [(name, value, step) for name, value, _, step in metrics]

    def log_artifact(self, run_id: str, path: str) -> None:
        self.store["files"].append(Path(path).name)

    def set_terminated(self, run_id: str, status: str) -> None:
        self.store["status"].append(status)


def mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for MLflow; each client's store is noted."""
    entities = types.SimpleNamespace(Metric=lambda *given: given, Param=lambda *given: given)
    installed(monkeypatch, "mlflow", MlflowClient=Client, entities=entities)


class Online:
    """As a run of `wandb`, as far as it is used."""

    def __init__(self, **given: Any) -> None:
        self.given, self.rows, self.files, self.code = given, [], [], None  # type: ignore[var-annotated]
        self.dir = str(Path(given["dir"]) / "wandb" / "files")
        Path(self.dir).mkdir(parents=True, exist_ok=True)
        NOTES.append(("init", self))

    def log(self, row: dict[str, float], step: int) -> None:
        self.rows.append((step, row))

    def save(self, path: str, base_path: str, policy: str) -> None:
        assert Path(path).parent == Path(base_path)
        self.files.append(Path(path).name)

    def finish(self, exit_code: int) -> None:
        self.code = exit_code


def wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for W&B; each run is noted."""
    installed(monkeypatch, "wandb", Settings=dict, init=Online)


BLOCK, HEAD = 32768, 7


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of W&B's own file: a log in blocks, of parts that are whole, first, middle or last."""
    from wandb.proto import wandb_internal_pb2

    raw, at, part = file.read_bytes(), HEAD, b""
    while at + HEAD <= len(raw):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", raw[at : at + HEAD])
        part += raw[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record
