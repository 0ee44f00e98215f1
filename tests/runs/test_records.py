"""The records of a run: what is not as it was recorded is refused, at resume, in sweeps and in reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, RunError, resume, simulate
from fedsam.errors import Damaged, Interrupted
from fedsam.reports.read import load
from fedsam.runs.directory import RunDirectory
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from fedsam.sweeps.grid import settings
from fedsam.sweeps.sweep import is_done
from tests.support.damages import of_bytes, of_lines
from tests.support.interrupted import GRID, StopAt, described, outcome, swept, table


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    simulate(described(out))
    return out


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("half") / "run"
    listener = StopAt(10)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    return out


def of_today(run: Path) -> Path:
    """The directory as it was before checkpoints vouched for records, and runs for their data."""
    manifest, described = run / "checkpoint" / "manifest.json", run / "run.json"
    for file, names in ((manifest, ("records", "files", "digest")), (described, ("fingerprint",))):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({name: value for name, value in content.items() if name not in names}))
    return run


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("what", [*dict(of_bytes()), *dict(of_lines())])
def test_damaged_records_are_refused_or_do_not_matter(
    tmp_path: Path, undisturbed: Path, half: Path, what: str, old: bool
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    damage = {**dict(of_bytes()), **dict(of_lines())}[what]
    damage(of_today(run) / "metrics.jsonl" if old else run / "metrics.jsonl")
    if old and what in {"another accuracy", "a bit flipped"}:
        return  # nothing vouched for it
    if what == "twice":  # behind the checkpoint is what may be dropped
        resume(run)
        assert outcome(run) == outcome(undisturbed)
        return
    with pytest.raises(Damaged, match=r"^[^\n]*metrics\.jsonl[^\n]*; (restore it from a copy, or start|put)[^\n]*$"):
        resume(run)
    if not old:
        with pytest.raises(InputError, match=r"metrics\.jsonl|has no recorded round yet"):
            load([run])


def test_a_directory_of_today_goes_on_and_is_vouched_for_from_then_on(
    tmp_path: Path, undisturbed: Path, half: Path
) -> None:
    run = of_today(Path(shutil.copytree(half, tmp_path / "run")))
    resume(run)
    assert outcome(run) == outcome(undisturbed)
    done = of_today(Path(shutil.copytree(undisturbed, tmp_path / "done")))
    assert is_done(described(done))
    blob = (done / "model.safetensors").read_bytes()
    (done / "model.safetensors").write_bytes(blob[:-4])
    assert not is_done(described(done))
    resume(done)
    assert outcome(done) == outcome(undisturbed)
    manifest = RunDirectory(done).manifest()
    assert manifest is not None
    assert manifest.records is not None
    assert (manifest.records.count, set(manifest.files)) == (4, {"model.safetensors"})


def test_what_is_recorded_behind_the_checkpoint_is_recorded_again(
    tmp_path: Path, undisturbed: Path, half: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"round": 12, "test_accuracy": 2}\n\xff\xfe')
    resume(run)
    assert outcome(run) == outcome(undisturbed)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("how", ["removed", "cut", "grown", "flipped"])
def test_records_that_are_damaged_while_the_run_goes_on_are_written_anew(
    tmp_path: Path, undisturbed: Path, caplog: pytest.LogCaptureFixture, how: str, stopped: bool
) -> None:
    out = tmp_path / "run"
    changes = {"cut": lambda b: b[:40], "grown": lambda b: b * 2, "flipped": lambda b: b.replace(b"0.", b"1.")}
    if how == "flipped" and stopped:
        return  # only in the end the whole of it is read

    class Damages(StopAt):
        def round(self, done: int) -> None:
            super().round(done)
            file = out / "metrics.jsonl"
            if done == 7 and how == "removed":
                file.unlink()
            elif done == 7:
                file.write_bytes(changes[how](file.read_bytes()))

    listener = Damages(8 if stopped else 0)
    if stopped:
        with pytest.raises(Interrupted):
            simulate(described(out), listener, listener.stop)
        resume(out)
    else:
        simulate(described(out), listener)
    assert outcome(out) == outcome(undisturbed)
    assert "metrics.jsonl was changed while the run went on; it is written anew" in caplog.text


@pytest.mark.parametrize("what", ["last line removed", "another accuracy", "removed"])
def test_a_sweep_names_a_damaged_run_and_does_the_others(tmp_path: Path, what: str) -> None:
    keys = {"client.name": "sgd,sam", "client.rho": "0.3"}
    swept(tmp_path / "s", **keys)
    run, expected = tmp_path / "s" / "sam-seed1", table(tmp_path / "s")
    {**dict(of_bytes()), **dict(of_lines())}[what](run / "metrics.jsonl")
    shutil.rmtree(tmp_path / "s" / "sgd-seed0")
    with pytest.raises(RunError, match=r"1 of 4 runs failed: client\.name=sam, seed 1: .*metrics\.jsonl.*; restore it"):
        swept(tmp_path / "s", **keys)
    assert [row["seeds"] for row in table(tmp_path / "s")] == [[0, 1], [0]]
    shutil.rmtree(run)
    swept(tmp_path / "s", **keys)
    assert table(tmp_path / "s") == expected


def test_a_damaged_model_is_written_again_by_the_sweep(tmp_path: Path) -> None:
    swept(tmp_path / "s", **{"client.name": "sgd,sam", "client.rho": "0.3"})
    model = tmp_path / "s" / "sam-seed1" / "model.safetensors"
    whole = model.read_bytes()
    for damage in (whole[:-1], whole[:-1] + b"\0", b""):
        model.write_bytes(damage)
        swept(tmp_path / "s", **{"client.name": "sgd,sam", "client.rho": "0.3"})
        assert model.read_bytes() == whole


def test_a_run_that_does_not_come_to_its_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, Any] = settings({**GRID, "client.name": "sgd,sam", "client.rho": "0.3"})
    import fedsam.sweeps.batched

    monkeypatch.setattr(fedsam.sweeps.batched, "carry_out", lambda *_, **__: None)
    with pytest.raises(RunError, match=r"4 of 4 runs failed: client\.name=sgd, seed 0: it did not come to its end"):
        compare(runs, 2, Progress(quiet=True), out=tmp_path / "s")


def test_a_finished_run_without_its_checkpoint_is_done_but_cannot_go_on(tmp_path: Path, undisturbed: Path) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    shutil.rmtree(run / "checkpoint")
    assert is_done(described(run))
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(Damaged, match="holds a model, but no checkpoint to go on from; restore it"):
        resume(run)
    assert (run / "metrics.jsonl").read_bytes() == before
