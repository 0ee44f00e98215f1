"""Each file of a run directory, damaged in many ways: one line that says what is wrong, or a result that is right."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, RunError, resume, simulate
from fedsam.errors import Damaged, Interrupted
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.study import Settings, study
from fedsam.reports.read import load
from fedsam.reports.settings import group
from fedsam.reports.write import MAKERS
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.storage.tensors import decoded
from tests.support.damages import Damage, of_bytes, of_json, rewritten
from tests.support.interrupted import StopAt, described, outcome
from tests.support.report_runs import everything

KEYS = {"server.name": "scaffold", "client.name": "sgd", "client.momentum": 0.0, "data.local_test": 0.2}
KEYS |= {"system.name": "simulated", "system.dropout": 0.1, "rounds": 6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped, and one that is finished and was measured."""
    home = tmp_path_factory.mktemp("runs")
    listener = StopAt(5)
    with pytest.raises(Interrupted):
        simulate(described(home / "half", **KEYS), listener, listener.stop)
    simulate(described(home / "done", **KEYS))
    study(home / "done", Settings(images=40, clients=1, surface=0, plane=0, density=False))
    return home


def damages(file: Path, every: int) -> Iterator[tuple[str, Damage]]:
    """Every way but those of single values, of which one in so many."""
    yield from of_bytes()
    if file.suffix == ".json":
        for number, (what, content) in enumerate(of_json(json.loads(file.read_text()))):
            if number % every == 0:
                yield what, rewritten(content)


def refusal(work: Callable[[], object]) -> str:
    """What is said if the work is refused; nothing if it is done."""
    try:
        work()
    except InputError as error:
        return str(error)
    return ""


def reported(run: Path) -> None:
    settings, _ = group(load([run]))
    for make in MAKERS:
        make(settings)


@pytest.mark.parametrize("name", ["run.json", "checkpoint/manifest.json", "checkpoint/round-0000005.safetensors"])
def test_a_run_that_is_to_go_on(tmp_path: Path, runs: Path, name: str) -> None:
    right, refused = outcome(runs / "done"), 0
    for number, (what, damage) in enumerate(damages(runs / "half" / name, 29)):
        run = Path(shutil.copytree(runs / "half", tmp_path / str(number)))
        damage(run / name)
        said = refusal(partial(resume, run))
        assert said.count("\n") == 0
        assert str(run) in said if said else outcome(run) == right, (what, said)
        refused += bool(said)
        shutil.rmtree(run)
    assert refused > 8


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "partition.json", "clients.json", "geometry.json"])
def test_a_report(tmp_path: Path, runs: Path, name: str) -> None:
    refused = 0
    for source in (runs / "done", everything(tmp_path / "made") / "0-sgd-0"):
        for number, (what, damage) in enumerate(damages(source / name, 23)):
            run = Path(shutil.copytree(source, tmp_path / f"{number}"))
            damage(run / name)
            said = refusal(partial(reported, run))
            assert re.match(rf"$|{re.escape(str(run))}: .*({name}|no recorded round|not a run)", said), (what, said)
            refused += bool(said)
            shutil.rmtree(run)
    assert refused > 20


def test_a_model_that_is_measured(tmp_path: Path, runs: Path) -> None:
    run = Path(shutil.copytree(runs / "done", tmp_path / "run"))
    whole = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(Damaged, match=r"model\.safetensors is not this run's model .*--resume .*run writes it again"):
        LoadedRun(run)
    resume(run)
    assert (run / "model.safetensors").read_bytes() == whole


def vouched(run: Path, tensors: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A checkpoint with other tensors, or another manifest, whose checksum is right."""
    import hashlib

    import safetensors.torch

    file = run / "checkpoint" / "manifest.json"
    manifest = json.loads(file.read_text())
    if tensors is not None:
        blob = safetensors.torch.save(tensors)
        (run / "checkpoint" / manifest["file"]).write_bytes(blob)
        manifest["sha256"] = hashlib.sha256(blob).hexdigest()
    content = {name: value for name, value in (manifest | changes).items() if name not in ("digest", "records")}
    file.write_text(json.dumps(content))
    return run


def test_a_checkpoint_of_another_run(tmp_path: Path, runs: Path) -> None:
    checkpoint = RunDirectory(runs / "half").load_checkpoint()
    assert checkpoint is not None
    whole = checkpoint.tensors | {name: rows[:] for name, rows in checkpoint.kept.items()}
    assert "slots.control" in whole
    for name, tensor in whole.items():
        for number, other in enumerate((None, tensor.reshape(-1)[:-1], tensor.double())):
            tensors = {key: each for key, each in whole.items() if key != name}
            tensors |= {} if other is None else {name: other.contiguous()}
            run = Path(shutil.copytree(runs / "half", tmp_path / f"{name}{number}"))
            if name.startswith("average.") and other is None:
                continue  # an average may have begun or not
            if name == "average.count" and other is not None and other.numel():
                continue  # a number is a number
            with pytest.raises(Damaged, match=r"^the checkpoint in \S+ is not this run's: [^\n]*; restore it"):
                resume(vouched(run, tensors))
    for number, round in enumerate((7, 5)):
        changes = {"round": round, "file": "round-0000007.safetensors" if round == 7 else "../x.safetensors"}
        run = Path(shutil.copytree(runs / "half", tmp_path / f"changed{number}"))
        (run / "checkpoint" / "round-0000005.safetensors").rename(run / "checkpoint" / "round-0000007.safetensors")
        with pytest.raises(Damaged, match=r"it is of round 7, the run has 6|file is '../x.safetensors'"):
            resume(vouched(run, **changes))


def test_a_number_that_was_changed_in_the_manifest(tmp_path: Path, runs: Path) -> None:
    run = Path(shutil.copytree(runs / "half", tmp_path / "run"))
    file = run / "checkpoint" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["pending"]["bytes_up"] += 1
    file.write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match=r"manifest\.json cannot be read \(its digest is not that of its content\)"):
        resume(run)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in ("id_rsa", "round-0000001.safetensors", "manifest.json"):
        (folder / name).write_text(name)
    return folder


def test_a_linked_checkpoint_is_refused_and_nothing_behind_it_is_touched(tmp_path: Path, precious: Path) -> None:
    out, before = tmp_path / "run", files(precious)
    listener = StopAt(1)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    shutil.rmtree(out / "checkpoint")
    (out / "checkpoint").symlink_to(precious)
    with pytest.raises(Damaged, match=r"checkpoint cannot be read \(it is a symbolic link\); put the folder itself"):
        resume(out)
    (out / "checkpoint").unlink()
    (out / "checkpoint").touch()
    with pytest.raises(Damaged, match="it is no folder"):
        resume(out)
    assert files(precious) == before


def test_what_others_put_into_the_checkpoint_stays_and_stops_nothing(tmp_path: Path, precious: Path) -> None:
    out = tmp_path / "run"
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    folder = out / "checkpoint"
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "round-0000000.safetensors").mkdir()
    for name in (".nfs0000001", "notes.txt", "round-1.safetensors.bak", ".mine.writing"):
        (folder / name).write_text(name)
    (folder / "round-0000002.safetensors").symlink_to(precious / "id_rsa")
    for name in (".manifest.json.writing", ".round-0000001.safetensors.0a1b2c3d.writing", "round-0000001.safetensors"):
        (folder / name).write_text("left by us")
    resume(out)
    left = {child.name for child in folder.iterdir()}
    ours = {"manifest.json", "round-0000012.safetensors"}
    theirs = {".ipynb_checkpoints", ".nfs0000001", "notes.txt", "round-1.safetensors.bak", ".mine.writing"}
    assert left == ours | theirs | {"round-0000000.safetensors", "round-0000002.safetensors"}
    assert (precious / "id_rsa").read_text() == "id_rsa"


def test_nothing_is_written_through_a_link(tmp_path: Path, precious: Path) -> None:
    out = tmp_path / "run"
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    before, records = files(precious), (out / "metrics.jsonl").read_bytes()
    (tmp_path / "elsewhere.jsonl").write_bytes(records)
    (out / "metrics.jsonl").unlink()
    (out / "metrics.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(Damaged, match=r"metrics\.jsonl cannot be read \(it is a symbolic link\)"):
        resume(out)
    assert (tmp_path / "elsewhere.jsonl").read_bytes() == records
    (out / "metrics.jsonl").unlink()
    (out / "metrics.jsonl").write_bytes(records)
    for name in (".lock", ".model.safetensors.writing", "model.safetensors", "partition.json"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(precious / "id_rsa")
    with pytest.raises(RunError, match=r"cannot write .*\.lock: it is a symbolic link"):
        resume(out)
    (out / ".lock").unlink()
    resume(out)
    assert files(precious) == before
    assert not (out / "model.safetensors").is_symlink()


def test_a_started_run_that_is_no_run_yet_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.writing").touch()
    with pytest.raises(InputError, match=r"there is no run\.json in it; it was killed before it began, start it again"):
        RunDirectory.open(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == [".run.json.writing"]
    simulate(Run.from_keys({**described(tmp_path / "run").keys(), "rounds": 6}))


def test_a_damaged_checkpoint_is_told_once(tmp_path: Path, runs: Path) -> None:
    run = Path(shutil.copytree(runs / "half", tmp_path / "run"))
    (file,) = run.glob("checkpoint/*.safetensors")
    whole = file.read_bytes()
    for content in (whole[:400] + b"x" + whole[401:], whole[:-5], b""):
        file.write_bytes(content)
        with pytest.raises(Damaged) as raised:
            RunDirectory(run).load_checkpoint()
        said = str(raised.value)
        assert said.startswith(f"{file} is damaged (its sha256 is not the manifest's); restore it from a copy")
        assert (said.count("is damaged"), said.count("restore")) == (1, 1)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file"), RuntimeError("unable to open file <x>: No such")]
)
def test_a_checkpoint_that_is_replaced_as_it_is_read_is_read_anew(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """torch opens the file by itself, and calls it a RuntimeError if it is gone."""
    run = Path(shutil.copytree(runs / "half", tmp_path / "run"))
    directory, newer = RunDirectory(run), (runs / "done" / "checkpoint")
    tries = []

    def replaced(path: Path, apart: str) -> Any:
        tries.append(path)
        if len(tries) == 1:
            shutil.rmtree(run / "checkpoint")
            shutil.copytree(newer, run / "checkpoint")
            raise error
        return decoded(path, apart)

    monkeypatch.setattr("fedsam.runs.directory.decoded", replaced)
    checkpoint, last = directory.load_checkpoint(), RunDirectory(runs / "done").load_checkpoint()
    assert checkpoint is not None
    assert last is not None
    assert (len(tries), checkpoint.round) == (3, last.round)

    def gone(path: Path, apart: str) -> Any:
        raise error

    monkeypatch.setattr("fedsam.runs.directory.decoded", gone)
    with pytest.raises(
        Damaged, match=r"safetensors cannot be read \((No such file|unable to open file <x>: No such)\); res"
    ):
        directory.load_checkpoint()
