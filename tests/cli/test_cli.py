"""The commands, as a user meets them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedsam.bench import names as bench_names
from tests.support.commands import FEDSAM, call, ending, failing

QUICK = ["rounds=4", "evaluate_every=2", "data.clients=10", "cohort=2", "client.epochs=1"]


def test_run_writes_its_directory_and_prints_one_object(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending(
        "run",
        *QUICK,
        "client.name=asam",
        "client.rho=0.5",
        "average.name=swa",
        "average.cycle=1",
        "out=r",
        "--json",
        "--quiet",
    )
    captured = capsys.readouterr()
    assert captured.err == ""
    summary = json.loads(captured.out)
    assert set(summary) == {
        "out",
        "rounds",
        "test_accuracy",
        "raw_test_accuracy",
        "test_loss",
        "seconds_per_round",
        "engine",
        "digest",
    }
    assert summary["out"] == "r"
    assert summary["rounds"] == 4
    assert summary["digest"] == hashlib.sha256((inside / "r" / "model.safetensors").read_bytes()).hexdigest()
    records = [json.loads(line) for line in (inside / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [record["round"] for record in records] == [2, 4]
    contract = {
        "round",
        "test_accuracy",
        "test_loss",
        "train_loss",
        "lr",
        "clients",
        "seconds",
        "eval_seconds",
        "bytes_up",
        "bytes_down",
    }
    assert all(set(record) == contract | {"raw_test_accuracy"} for record in records)
    assert records[-1]["test_accuracy"] == summary["test_accuracy"]
    parameters = 64 * 64 + 64 + 64 * 10 + 10
    assert all(record["bytes_up"] == record["bytes_down"] == 2 * 2 * 4 * parameters for record in records)
    assert all(len(record["clients"]) == 2 for record in records)
    description = json.loads((inside / "r" / "run.json").read_text())
    assert description["keys"]["client.rho"] == 0.5
    assert {"hardware", "versions", "commit", "engine", "engine_reason"} <= set(description["environment"])
    assert description["environment"]["hardware"]["threads"] >= 1
    assert not list(inside.rglob("*.pkl")) + list(inside.rglob("*.pt"))


def test_two_runs_of_one_configuration_have_the_same_digest(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        ending("run", *QUICK, f"seed={seed}", f"out={out}", "--json", "--quiet")
        digests.append(json.loads(capsys.readouterr().out)["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_run_takes_toml_and_later_settings_win(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text(
        'rounds = 3\ncohort = 2\n[data]\nclients = 10\n[client]\nname = "sam"\nrho = 0.2\nclip_norm = "none"\n'
    )
    ending("run", "mine.toml", "client.rho=0.4", "--json", "--quiet")
    summary = json.loads(capsys.readouterr().out)
    keys = json.loads((Path(summary["out"]) / "run.json").read_text())["keys"]
    assert (keys["rounds"], keys["client.name"], keys["client.rho"]) == (3, "sam", 0.4)
    ending("run", f"{summary['out']}/run.json", "out=again", "--json", "--quiet")
    assert json.loads(capsys.readouterr().out)["digest"] == summary["digest"]


def test_a_run_without_out_never_meets_another(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = []
    for _ in range(2):
        ending("run", *QUICK, "--json", "--quiet")
        outs.append(json.loads(capsys.readouterr().out)["out"])
    name = "digits-sgd-fedavg-epochs1-clients10-rounds4-cohort2-seed0"
    assert outs == [f"runs/{name}", f"runs/{name}-2"]


def test_a_person_sees_progress_engine_and_result(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("run", *QUICK, "out=r")
    captured = capsys.readouterr()
    assert "engine cohort (on a CPU perceptrons of at most 4,194,304 parameters are faster in blocks)" in captured.err
    assert "test accuracy" in captured.out
    assert "run directory" in captured.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "client.rho=1"], "error: client.rho = 1: no such key here"),
        (["run", "cohort=500"], "error: cohort = 500: must be at most data.clients = 50"),
        (["run", "=3"], "error: '=3': there is no key before the ="),
        (["run", "rho"], "error: 'rho' is neither key=value nor a .toml file; `fedsam keys` lists the keys"),
        (["run", "missing.toml"], "error: there is no file missing.toml"),
        (["run", "broken.toml"], "error: broken.toml cannot be read: "),
        (["run", "--resume", "nowhere"], "error: nowhere is not a run directory: there is no run.json in it"),
        (
            ["run", "--resume", "nowhere", "rounds=3"],
            "error: --resume continues a run as it was described; leave out 'rounds=3'",
        ),
        (["run", "data.partition=file", "data.split_file=gone.npz:a"], "error: data.split_file = gone.npz:a: "),
        (
            ["run", "data.name=cifar10", "data.root=gone", "engine.device=cuda:9"],
            "error: engine.device = cuda:9: torch sees ",
        ),
        (["run", "engine.device=abacus"], "error: engine.device = abacus: must be auto, cpu, cuda or cuda:N"),
        (["run", "engine.precision=tf32", "engine.device=cpu"], "error: engine.precision = tf32: needs a CUDA device"),
        (
            ["run", "data.samples_per_client=500"],
            "error: data.samples_per_client = 500: 50 clients would need 25000 examples",
        ),
        (["compare", "client.lr=-1"], "error: client.lr = -1: must be greater than 0.0"),
        (["partition", "data.alpha=-3"], "error: data.alpha = -3: must be at least 0.0"),
        (
            ["compare", "client.name=sgd,samm"],
            "error: client.name = samm: no such client optimiser; did you mean 'sam'?",
        ),
        (["geometry", "nowhere"], "error: nowhere is not a run directory: there is no run.json in it"),
        (["report", "nowhere"], "error: nowhere: there is nothing there; give a run directory"),
        (["bench", "nothing"], "error: no such case 'nothing'; there are "),
        (["runn"], "error: No such command 'runn'. Did you mean 'run'?; see fedsam --help"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    inside: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    Path("broken.toml").write_text("rounds = = 3")
    status, err = failing(capsys, *arguments)
    assert status == 2
    assert err.startswith(words), err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_unknown_options_and_commands_have_status_2(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", "--nonsense"], ["nonsense"]):
        status, err = failing(capsys, *arguments)
        assert status == 2
        assert "No such" in err


def test_an_unexpected_error_is_one_line_unless_debug(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("something\nbroke")

    monkeypatch.setattr("fedsam.jobs.simulate.begin", broken)
    status, err = failing(capsys, "run", *QUICK)
    assert (status, err) == (1, "error: RuntimeError: something broke (unexpected; --debug shows the traceback)\n")
    with pytest.raises(RuntimeError):
        call("run", *QUICK, "--debug")


def test_geometry_and_report_of_a_run(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("run", *QUICK, "out=r", "--quiet")
    assert "report             r/report.html" in capsys.readouterr().out
    before = Path("r/report.html").read_text()
    ending("geometry", "r", "--surface", "3", "--images", "100", "--clients", "2")
    captured = capsys.readouterr()
    assert "measuring: global\n" in captured.err
    found = json.loads(Path("r/geometry.json").read_text())
    assert f"largest eigenvalues            {found['global']['eigenvalues'][0]:.4g}, " in captured.out
    assert len(found["surface"]["x"]) == 3
    assert 'id="data-surface' in Path("r/report.html").read_text()
    assert 'id="data-surface' not in before
    ending("geometry", "r", "--surface", "0", "--clients", "0", "--json", "--quiet")
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "surface" not in json.loads(captured.out)
    ending("report", "r", "--out", "other.html", "--figures", "figures")
    assert capsys.readouterr().out == "other.html\n"
    assert Path("figures/density.svg").exists()


def test_compare_prints_rows_and_draws_the_curves(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("compare", "rounds=20", "--seeds", "2", "--json", "--quiet", "out=c")
    captured = capsys.readouterr()
    assert captured.err == ""
    rows = json.loads(captured.out)
    assert [row["setting"] for row in rows] == ["FedAvg", "FedSAM", "FedASAM", "FedASAM + SWA"]
    for place, row in enumerate(rows):
        paired = {"difference", "interval"} if place else set()
        assert set(row) == {"setting", "seeds", "test_accuracy", "mean", "std", "seconds_per_round"} | paired
        assert row["seeds"] == [0, 1]
        assert row["mean"] == pytest.approx(sum(row["test_accuracy"]) / 2)
        assert row["std"] == pytest.approx(abs(row["test_accuracy"][0] - row["test_accuracy"][1]) / 2**0.5)
    assert (inside / "c" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    clients = {
        seed: {
            tuple(tuple(json.loads(line)["clients"]) for line in path.read_text().splitlines())
            for path in (inside / "c").glob(f"*-seed{seed}/metrics.jsonl")
        }
        for seed in (0, 1)
    }
    assert len(clients[0]) == len(clients[1]) == 1
    assert clients[0] != clients[1]


def test_partition_describes_and_draws(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("partition", "data.alpha=0", "data.clients=20", "--json")
    described = json.loads(capsys.readouterr().out)
    measures = {"js_mean", "js_std", "emd_mean", "emd_std", "classes_mean", "gini"}
    assert set(described) == {"clients", "sizes", "classes_per_client"} | measures
    assert described["clients"] == 20
    assert described["classes_per_client"] == [1] * 20
    assert sum(described["sizes"]) == 1400
    (figure,) = Path("runs").glob("*.png")
    assert figure.read_bytes()[:4] == b"\x89PNG"
    ending("partition", "data.partition=iid", "--figure", "mine.png")
    assert "Gini of sizes" in capsys.readouterr().out
    assert Path("mine.png").exists()


def test_keys_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    ending("keys")
    shown = capsys.readouterr().out
    for words in ("client.rho", "average.cycle", "data.alpha", "engine.precision", "Caldarola et al. 2022"):
        assert words in shown
    ending("keys", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {"key", "of", "default", "allowed", "help", "source"} == set(rows[0])


def test_version_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from fedsam import cli\n"
        "for arguments in (['--version'], ['--help'], ['run', '--help']):\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[0].startswith("fedsam 0.")
    assert shown.splitlines()[-1] == "[]"


def test_a_run_loads_neither_torchs_compiler_nor_what_it_does_not_need(tmp_path: Path) -> None:
    """Each of these costs seconds at the start of every process."""
    code = (
        "import sys; from fedsam import Run, simulate\n"
        "heavy = {'torch._dynamo', 'sympy', 'torchvision', 'sklearn', 'matplotlib', 'ray', 'flwr'}\n"
        "for engine in ('loop', 'cohort'):\n"
        "    simulate(Run.from_keys({'engine.name': engine, 'client.name': 'asam', 'rounds': 1}))\n"
        "    print(engine, sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert shown.stdout.splitlines()[-2:] == ["loop []", "cohort []"]


@pytest.mark.parametrize("more", [[], ["-q"], ["--json"]])
def test_nobody_reads_what_is_printed(tmp_path: Path, more: list[str]) -> None:
    """As before `| true`: the run is whole, and nothing is said."""
    command = [*FEDSAM, "run", "rounds=1", f"out={tmp_path / 'run'}", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = [line for line in process.stderr.read().splitlines() if ": engine " not in line]
    assert (process.returncode, said) == (1, [])
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_ctrl_c_finishes_the_round_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [*FEDSAM, "run", "rounds=100000", "evaluate_every=100", "out=long"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "long" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: stopped after round ") is False
    assert last.startswith("stopped after round ")
    assert last.endswith("continue with: fedsam run --resume long")
    done = int(last.split()[3])
    manifest = json.loads((tmp_path / "long" / "checkpoint" / "manifest.json").read_text())
    assert manifest["round"] == done


def test_every_bench_case_has_rows() -> None:
    import importlib

    assert {"engines", "paper-cnn"} <= set(bench_names())
    for name in bench_names():
        assert callable(importlib.import_module(f"fedsam.bench.{name.replace('-', '_')}").rows)


def test_bench_prints_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    ending("bench", "partition", "--rounds", "2", "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    contract = {"case", "variant", "engine", "precision", "seconds_per_round", "spread", "rounds", "limit_ratio"}
    contract |= {"versus", "hardware", "versions"}
    assert all(set(row) == contract for row in rows)
    assert {row["case"] for row in rows} == {"partition"}
    assert all(row["seconds_per_round"] > 0 and row["rounds"] == 2 for row in rows)
    assert len({row["variant"] for row in rows}) == len(rows) >= 10
