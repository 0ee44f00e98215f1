"""Each folder of examples/ does what its first lines say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fedsam import Run
from fedsam.cluster.join import BUSY
from tests.support.processes import BIN, Processes, free_port, wait_for, wait_for_an_answer_at

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OTHERS = {"flower_swa", "torch_optimizer"}  # tests/examples/test_examples.py
FOLDERS = {"flower_app", "hugging_face", "lora", "private", "ray_cluster", "slurm_array"} | OTHERS


def carried_out(*command: str, folder: Path, **environment: str) -> str:
    """What a command prints, run in a folder, with this checkout's fedsam."""
    path = f"{folder}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fedsam_command(folder: Path) -> None:
    """The command `fedsam` of this checkout."""
    file = folder / "fedsam"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fedsam "$@"\n')
    file.chmod(0o755)


def test_all_are_listed_and_short() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and any(path.glob("*.*"))}
    assert folders == FOLDERS
    listed = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", listed, re.MULTILINE)) == FOLDERS
    for file in (file for file in EXAMPLES.rglob("*.*") if file.is_file() and "__pycache__" not in file.parts):
        assert len(file.read_text().splitlines()) <= 60, file


def test_the_private_one_is_private() -> None:
    pytest.importorskip("dp_accounting")
    run = Run.from_keys(_flat(tomllib.loads((EXAMPLES / "private" / "private.toml").read_text())))
    assert run.privacy.name == "gaussian"
    assert run.keys()["privacy.epsilon"] == 8.0
    from fedsam import simulate

    few = simulate(Run.from_keys({**run.keys(), "rounds": 2, "evaluate_every": 1}), quiet=True)
    assert few.metrics[-1]["epsilon"] == pytest.approx(8.0, abs=0.01)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def array_task(folder: Path, task: int, rounds: int) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a task of the array, in a folder with what stands for Slurm."""
    (folder / "scontrol").write_text('#!/bin/sh\necho "$@" >> requeued\n')
    (folder / "scontrol").chmod(0o755)
    given = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "7", "ROUNDS": str(rounds), "OUT": "array"}
    return ["bash", str(EXAMPLES / "slurm_array" / "array.sbatch")], given


def test_each_task_of_the_array_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "fedsam").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "fedsam").chmod(0o755)
    lines = []
    for task in range(9):
        command, given = array_task(tmp_path, task, 20)
        lines.append(carried_out(*command, folder=tmp_path, **given).split())
    runs = [Run.from_keys(dict(word.split("=") for word in line[1:])) for line in lines]
    assert [line[0] for line in lines] == ["run"] * 9
    found = {(run.client.name, run.client.keys().get("rho"), run.seed, run.rounds) for run in runs}
    methods = [("sgd", None), ("sam", 0.3), ("asam", 0.7)]
    assert found == {(*method, seed, 20) for method in methods for seed in range(3)}
    assert len({run.out for run in runs}) == 9
    (tmp_path / "array" / "1" / "seed2" / "checkpoint").mkdir(parents=True)
    command, given = array_task(tmp_path, 5, 20)
    assert carried_out(*command, folder=tmp_path, **given) == "run --resume array/1/seed2\n"
    assert not (tmp_path / "requeued").exists()


@pytest.mark.slow
def test_a_task_of_the_array_that_is_out_of_time_is_requeued_and_goes_on(tmp_path: Path) -> None:
    fedsam_command(tmp_path)
    command, given = array_task(tmp_path, 0, 3000)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    job = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **given})
    out = tmp_path / "array" / "0" / "seed0"
    wait_for(job, 240, out / "checkpoint")
    job.terminate()  # the batch script, as Slurm does with B:TERM
    assert job.wait(240) in (130, 143)
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert len((out / "metrics.jsonl").read_text().splitlines()) < 300
    carried_out(*command, folder=tmp_path, **given)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 300
    assert json.loads((out / "run.json").read_text())["keys"]["client.name"] == "sgd"


@pytest.mark.slow
def test_a_sweep_over_a_cluster(tmp_path: Path) -> None:
    fedsam_command(tmp_path)
    script = str(EXAMPLES / "ray_cluster" / "sweep.sh")
    more = ["rounds=3", f"out={tmp_path / 'swept'}"]
    printed = carried_out("bash", script, *more, folder=tmp_path, PORT=str(free_port()), **BUSY)
    assert "learning curves" in printed
    assert len(list((tmp_path / "swept").rglob("model.safetensors"))) == 8


@pytest.mark.slow
def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    printed = carried_out(sys.executable, str(EXAMPLES / "hugging_face" / "train.py"), folder=tmp_path)
    rows = dict(re.findall(r"^(FedAvg|FedASAM) +([\d.]+)%", printed, re.MULTILINE))
    assert rows.keys() == {"FedAvg", "FedASAM"}
    assert all(float(mean) > 80 for mean in rows.values())


@pytest.mark.slow
def test_lora_sends_less(tmp_path: Path) -> None:
    printed = carried_out(sys.executable, str(EXAMPLES / "lora" / "fine_tune.py"), folder=tmp_path)
    found = re.findall(r"^(.+?)  +([\d.]+) % +([\d.]+) kB", printed, re.MULTILINE)
    assert [name for name, _, _ in found] == ["all weights", "LoRA, rank 8", "the last layer"]
    assert all(float(accuracy) > 85 for _, accuracy, _ in found)
    weights, rank = 64 * 256 + 256 + 256 * 10 + 10, 8
    sizes = [weights, rank * (64 + 256) + 256 * 10 + 10, 256 * 10 + 10]
    assert [float(sent) for _, _, sent in found] == [round(4 * size / 1000, 1) for size in sizes]


@pytest.mark.slow
def test_the_flower_app(tmp_path: Path) -> None:
    """As its first line says, but with our own SuperLink, so that none is left running."""
    pytest.importorskip("flwr")
    processes = Processes(tmp_path)
    processes.environment |= {"PYTHONPATH": str(ROOT), **BUSY}
    try:
        port = free_port()
        processes.start("superlink", "flower-superlink", "--insecure", "--simulation", "--port", str(port))
        processes.superlink("here", f"127.0.0.1:{port}")
        wait_for_an_answer_at(port)
        nodes = "num-supernodes=20 client-resources-num-cpus=1"
        app = str(EXAMPLES / "flower_app")
        client = processes.start("run", "flwr", "run", app, "here", "--stream", "--federation-config", nodes)
        wait_for(client, 300)
        found = re.findall(r"accuracy of the average on the clients' own images: ([\d.]+)", processes.log("run"))
        assert [float(accuracy) > 0.5 for accuracy in found] == [True], processes.log("run")
    finally:
        processes.end()
