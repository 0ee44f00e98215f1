"""Trackers are told what the records say, go on where a run goes on, and stop nothing when they fail."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, Listener, Run, resume, simulate
from fedsam.errors import Interrupted
from fedsam.runs.told import numbers, told
from fedsam.runs.trackers import base
from fedsam.runs.trackers.base import each_of
from fedsam.sweeps.grid import is_grid, settings
from tests.support import trackers
from tests.support.interrupted import StopAt
from tests.support.trackers import NOTES

HERE = "tests.support.trackers"
SMALL = {"data.clients": 10, "cohort": 2, "rounds": 4, "evaluate_every": 1, "client.epochs": 1, "engine.threads": 1}


def described(track: str = "none", **changes: Any) -> Run:
    return Run.from_keys({**SMALL, "track.name": track, "checkpoint_every": 1, **changes})


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    NOTES.clear()


def wanted(folder: Path) -> dict[int, dict[str, float]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {record["round"]: numbers(record) for record in records}


def stopped_and_resumed(run: Run) -> None:
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(run, listener, listener.stop)
    resume(str(run.out), Listener())


class EndsAt(Listener):
    """Ends the process, as far as a run can see."""

    def __init__(self, at: int) -> None:
        self.at = at

    def round(self, done: int) -> None:
        if done == self.at:
            raise EOFError


def test_a_tracker_is_told_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "study" / "one"
    simulate(described(f"{HERE}:Noted", out=str(out)))
    begun = NOTES[0][1]
    assert (begun.name, begun.group, begun.done, begun.folder) == ("one", "study", 0, out)
    assert begun.keys["rounds"] == 4
    assert begun.about["engine"] == "cohort"
    assert {round: found for what, round, found in NOTES[1:-1]} == wanted(out)
    what, ending, files = NOTES[-1]
    assert (what, ending) == ("finished", "finished")
    assert {"model.safetensors", "report.html", "run.json", "metrics.jsonl"} <= set(files)


def test_a_stopped_run_is_told_as_that_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "one"
    stopped_and_resumed(described(f"{HERE}:Noted", out=str(out)))
    assert [note[0] for note in NOTES].count("started") == 2
    assert [note[1] for note in NOTES if note[0] == "finished"] == ["stopped", "finished"]
    assert [note[1].done for note in NOTES if note[0] == "started"] == [0, 2]
    assert [note[1] for note in NOTES if note[0] == "recorded"] == [1, 2, 3, 4]


def test_a_run_that_breaks_is_told_as_that() -> None:
    with pytest.raises(Exception, match="not finite"):
        simulate(described(f"{HERE}:Noted", **{"client.lr": 1e20}))
    assert NOTES[-1][:2] == ("finished", "failed")


@pytest.mark.parametrize(("name", "told_of"), [("NeverStarts", 0), ("Breaks", 2)])
def test_a_tracker_that_fails_warns_once_and_stops_nothing(
    name: str, told_of: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fedsam"):
        found = simulate(described(f"{HERE}:{name},{HERE}:Noted"))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith(f"tracker {HERE}:{name} failed and is told no more (")
    assert "\n" not in lines[0]
    assert [note[0] for note in NOTES].count("recorded") == 4 + told_of  # the other one is told of everything
    assert NOTES[-1][0] == "finished"
    assert found.digest == simulate(described()).digest


def test_tensorboard_is_read_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "one"
    with pytest.raises(EOFError):  # with round 3 told and no checkpoint after round 2, so that it is told again
        simulate(described("tensorboard", out=str(out), checkpoint_every=2), EndsAt(4))
    resume(out, Listener())
    found = accumulator.EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    rows: dict[int, dict[str, float]] = {}
    for name in found.Tags()["scalars"]:
        for event in found.Scalars(name):
            assert name not in rows.setdefault(event.step, {})
            rows[event.step][name] = event.value
    kept = wanted(out)
    assert rows.keys() == kept.keys()
    for round, row in kept.items():
        assert rows[round] == pytest.approx(row, rel=1e-6)
    text = found.Tensors("keys/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"client.name": "sgd"' in text


def test_mlflow_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.mlflow(monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    out = tmp_path / "study" / "one"
    stopped_and_resumed(described("mlflow", out=str(out), **{"track.project": "mine"}))
    first, second = (store for what, store in NOTES if what == "client")
    assert first["uri"] == second["uri"] == (tmp_path / "study" / "mlruns").as_uri()
    assert (first["experiment"], first["name"]) == ("number of mine", "one")
    assert first["tags"]["fedsam.group"] == "study"
    assert first["params"]["client.lr"] == "0.1"
    assert (first["status"], second["status"], second["again"]) == (
        ["RUNNING", "KILLED"],
        ["RUNNING", "FINISHED"],
        ("r1", "RUNNING"),
    )
    rows: dict[int, dict[str, float]] = {}
    for name, value, step in first["metrics"] + second["metrics"]:
        assert name not in rows.setdefault(step, {})
        rows[step][name] = value
    assert rows == wanted(out)
    assert {"model.safetensors", "report.html"} <= set(second["files"])


def test_mlflow_sends_to_a_server_only_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.mlflow(monkeypatch)
    simulate(described("mlflow", out=str(tmp_path / "one"), **{"track.online": True}))
    assert NOTES[0][1]["uri"] is None  # its own settings decide


def test_wandb_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.wandb(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "online")
    out = tmp_path / "study" / "one"
    stopped_and_resumed(described("wandb", out=str(out)))
    first, second = (run for what, run in NOTES if what == "init")
    for run in (first, second):
        assert run.given["mode"] == "offline"
        assert (run.given["project"], run.given["group"], run.given["name"]) == ("fedsam", "study", "one")
        assert run.given["dir"] == str(out)
    assert first.given["id"] == second.given["id"]
    assert (first.given["resume"], second.given["resume"]) == (None, "allow")
    assert dict(first.rows + second.rows) == wanted(out)
    assert (first.code, second.code) == (1, 0)
    assert "model.safetensors" in second.files


def test_wandb_goes_online_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.wandb(monkeypatch)
    simulate(
        described("wandb", out=str(tmp_path / "one"), **{"track.online": True, "track.folder": str(tmp_path / "w")})
    )
    assert NOTES[0][1].given["mode"] == "online"
    assert NOTES[0][1].given["dir"].startswith(str(tmp_path / "w"))


@pytest.mark.filterwarnings("ignore")
def test_mlflow_itself(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    out = tmp_path / "study" / "one"
    stopped_and_resumed(described("mlflow", out=str(out)))
    client = mlflow.MlflowClient((tmp_path / "study" / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("fedsam").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["client.lr"] == "0.1"
    for round, row in wanted(out).items():
        for name, value in row.items():
            assert [m.value for m in client.get_metric_history(run.info.run_id, name) if m.step == round] == [value]
    assert "model.safetensors" in [file.path for file in client.list_artifacts(run.info.run_id)]


@pytest.mark.filterwarnings("ignore")
def test_wandb_itself(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    out = tmp_path / "study" / "one"
    simulate(described("wandb", out=str(out)))
    (file,) = out.glob("wandb/offline-run-*/*.wandb")
    records = list(trackers.wandb_records(file))
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.project, run.run_group, run.display_name) == ("fedsam", "study", "one")
    rows = {}
    for record in records:
        if record.WhichOneof("record_type") == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows[row["_step"]] = {name: value for name, value in row.items() if not name.startswith("_")}
    assert rows == wanted(out)
    assert (file.parent / "files" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_several_trackers_are_one_part_of_a_run() -> None:
    run = described(f"tensorboard, {HERE}:Noted", **{"track.project": "mine"})
    assert run.track.name == f"tensorboard,{HERE}:Noted"
    assert [each.name for each in each_of(run.track)] == ["tensorboard", f"{HERE}:Noted"]
    assert {each.project for each in each_of(run.track)} == {"mine"}
    assert Run.from_keys(run.keys()) == run == pickle.loads(pickle.dumps(run))
    assert each_of(described("none").track) == []
    with pytest.raises(
        InputError, match=r"track.name = (nobody|tensorboard,nobody): no such tracker; .*there are mlflow"
    ):
        described("tensorboard,nobody")


def test_who_is_told_changes_nothing_of_what_a_run_is_called() -> None:
    one, other = described(), described("tensorboard", callbacks=f"{HERE}:Told")
    assert one.digest() == other.digest()
    assert one.title() == other.title()


def test_in_a_sweep_several_trackers_are_one_setting() -> None:
    keys = {"track.name": f"tensorboard,{HERE}:Noted", "client.name": "sgd,sam"}
    found = settings({**SMALL, **keys})
    assert list(found) == ["client.name=sgd", "client.name=sam"]
    assert {run.track.name for run in found.values()} == {keys["track.name"]}
    assert not is_grid({"track.name": keys["track.name"], "callbacks": "a:B,c:D"})


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_package_that_is_missing_is_named_before_anything_is_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = base.importlib.util.find_spec
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda module: None if module == name else found(module))
    with pytest.raises(InputError, match=rf"track.name = {name}: needs the package {name}; pip install 'fedsam\[tra"):
        simulate(described(name, out=str(tmp_path / "one")))
    assert not (tmp_path / "one").exists()


def test_callbacks_by_name(tmp_path: Path) -> None:
    result = simulate(described(callbacks=f"{HERE}:Told", out=str(tmp_path / "one")))
    assert [note[0] for note in NOTES] == ["started", *["recorded"] * 4, "finished"]
    assert [note[1] for note in NOTES[1:-1]] == result.metrics
    assert NOTES[-1][1] is result


def test_a_callback_that_fails_warns_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedsam"):
        result = simulate(described(callbacks=f"{HERE}:Fails"))
    assert [record.getMessage() for record in caplog.records] == [
        "callback Fails failed and is told no more (KeyError: 'mine')"
    ]
    assert [note[0] for note in NOTES] == ["started", "recorded", "recorded"]
    assert result.digest == simulate(described()).digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{HERE}:Nobody", "callbacks = tests.support.trackers:Nobody: module .* has no 'Nobody'"),
        (f"{HERE}:NOTES", "callbacks = .*:NOTES: must be a subclass of fedsam.Listener"),
        ("mine", "callbacks = mine: "),
    ],
)
def test_what_is_no_callback_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(described(callbacks=name))


def test_a_run_without_trackers_has_the_listener_itself() -> None:
    listener = Listener()
    with told(described(), listener, None, {}, lambda folder: None) as found:
        assert found is listener
