"""What the commands say at their edges: help, lists of keys, names of files, what is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedsam.cli import completion, doctor
from fedsam.cli.app import COMMANDS
from fedsam.cli.settings import parse
from fedsam.cli.study import STUDIES
from fedsam.errors import InputError
from fedsam.run import Run, describe_keys
from tests.support.commands import FEDSAM, call, ending, failing

MODEL = """
from torch import nn

def net(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
"""


ALL = [[], *([command.__name__] for command in COMMANDS), *(["study", command.__name__] for command in STUDIES)]


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_help_has_a_short_option_and_no_backslashes(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ending(*command, "-h")
    short = capsys.readouterr().out
    ending(*command, "--help")
    assert capsys.readouterr().out == short
    assert short.startswith("Usage: fedsam")
    assert "\\" not in short


def test_no_command_is_described_by_half_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ending("--help")
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert len(listed.strip().splitlines()) == len(COMMANDS) + 1
    assert "..." not in listed
    ending("study", "--help")
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words; it takes a = for a word of its own."""
    split = [part for word in words for part in re.split("(=)", word) if part or word == ""]
    asked = {"COMP_WORDS": "\n".join(split), "COMP_CWORD": str(len(split) - 1), "_FEDSAM_COMPLETE": "complete_bash"}
    done = subprocess.run(FEDSAM, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout.split()


def test_a_shell_completes_commands_keys_and_values() -> None:
    assert completed("fedsam", "swe") == ["sweep"]
    assert {"client.rho=", "client.reset="} <= set(completed("fedsam", "run", "client.r"))
    assert set(completed("fedsam", "run", "client.rh")) > {"client.rho=", "client.rho=0.1"}
    assert set(completed("fedsam", "run", "client.name=a")) == {"adamw", "adversarial", "asam"}
    assert "scaffold" in completed("fedsam", "sweep", "rounds=3", "server.name=")
    assert completed("fedsam", "run", "nothing") == []


def test_other_shells_take_a_setting_for_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "round.toml").touch()
    assert completion.offered([], "roun") == ["rounds=", "round.toml"]
    assert completion.offered([], "average.name=swa,e") == ["average.name=swa,ema"]
    assert completion.offered(["average.name", "="], "swa,w") == ["swa,wima"]
    assert completion.offered([], "client.name=a") == [
        "client.name=adamw",
        "client.name=adversarial",
        "client.name=asam",
    ]
    assert completion.offered([], "engine.precision=b") == ["engine.precision=bf16"]
    assert completion.offered([], "rounds") == ["rounds=", "rounds=150"]
    assert set(completion.known()) == {row.key for row in describe_keys()}


def test_one_suggestion_and_settings_without_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(capsys, "rum")[1].count("Did you mean") == 1
    assert "settings have no dashes: rounds=VALUE" in failing(capsys, "run", "--rounds", "2")[1]
    assert "settings have no dashes: client.lr=VALUE" in failing(capsys, "run", "--client.lr", "2")[1]


def test_keys_of_a_group_or_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    ending("keys", "client", "--json")
    group = [row["key"] for row in json.loads(capsys.readouterr().out)]
    assert group == [row.key for row in describe_keys() if row.key.startswith("client.")]
    ending("keys", "Radius", "--json")
    found = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in found} >= {"client.rho", "server.rho"}
    assert all("radius" in row["help"].lower() for row in found)
    assert "no key has 'clinet' in it; did you mean 'client'?" in failing(capsys, "keys", "clinet")[1]


@pytest.mark.parametrize("width", ["40", "80"])
def test_keys_on_a_narrow_terminal(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer than the terminal, but for a word that is, and no word is cut."""
    monkeypatch.setenv("COLUMNS", width)
    ending("keys")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= int(width) or len(line.split()) == 1 for line in lines if line.startswith("    "))
    words = {word for line in lines for word in line.split()}
    rows = describe_keys()
    assert {row.key for row in rows} <= words
    assert {word for row in rows for word in row.help.split()} - words <= {word for word in words if ")" in word} | {
        row.help.split()[-1] for row in rows
    }


def test_a_file_and_a_class_in_it(inside: Path) -> None:
    (inside / "parts").mkdir()
    for file in ("mine.py", "parts/mine.py"):
        (inside / file).write_text(MODEL)
    given = parse(["model.name=./mine.py:net,mlp,parts/mine.py:net", f"data.name={inside / 'mine.py'}:Data.Own"])
    assert given == {"model.name": "mine:net,mlp,parts.mine:net", "data.name": "mine:Data.Own"}
    ending("run", "rounds=1", "cohort=2", "model.name=./mine.py:net", "out=r", "--quiet")
    assert json.loads(Path("r/run.json").read_text())["keys"]["model.name"] == "mine:net"
    sys.modules.pop("mine")
    for name, told in (("../mine.py:net", "must lie below the current directory"), ("./no.py:net", "there is no file")):
        with pytest.raises(InputError, match=told):
            parse([f"model.name={name}"])


def test_what_the_system_did_is_told(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("run", "rounds=4", "cohort=5", "system.name=simulated", "system.dropout=0.5", "out=r", "--quiet")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("turnout")]
    found = re.fullmatch(r"turnout +of 20 clients asked (\d+) trained, (\d+) dropped out.*", line)
    assert found is not None
    assert int(found[1]) + int(found[2]) == 20
    ending("run", "rounds=1", "cohort=5", "out=q", "--quiet")
    assert "turnout" not in capsys.readouterr().out


def test_one_library_for_all_runs(inside: Path) -> None:
    for seed in (0, 1):
        ending("run", "rounds=1", "cohort=2", f"seed={seed}", "--quiet")
    pages = sorted(Path("runs").glob("*/report.html"))
    (library,) = Path("runs").glob("plotly-*.min.js")
    assert len(pages) == 2
    for page in pages:
        text = page.read_text()
        assert f'<script src="../{library.name}"></script>' in text
        assert "script-src 'unsafe-inline' 'self' file:;" in text
        assert len(text) < 200_000
    ending("report", str(pages[0].parent), "--out", "alone.html")
    assert library.read_text() in Path("alone.html").read_text()


def test_a_sweep_reads_as_a_reader_would_say_it(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("sweep", "rounds=2", "cohort=2", "client.name=sgd,sam", "data.alpha=1,100", "--seeds", "1", "out=s", "-q")
    shown = capsys.readouterr().out
    assert "SAM, α = 100" in shown
    assert "client.name" not in shown
    assert "0.00%" not in shown
    assert {folder.name for folder in Path("s").iterdir() if folder.is_dir()} == {
        f"{client}-alpha{alpha}-seed0" for client in ("sgd", "sam") for alpha in (1, 100)
    }
    rows = json.loads(Path("s/compare.json").read_text())
    means = {row["setting"]: row["mean"] for row in rows}
    for row in rows:  # each of SAM's is less SGD's on the same data
        alpha = row["setting"].partition(" ")[2]
        if "sgd" in row["setting"]:
            assert row.get("difference") is None
        else:
            assert row["difference"] == pytest.approx(row["mean"] - means[f"client.name=sgd {alpha}"])
    pivot = Path("s/table.md").read_text().partition("| method")[2].splitlines()
    assert pivot[0] == ", test accuracy (%) | α = 1 | α = 100 |"
    for line in pivot[2:4]:
        name, *cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        wanted = [means[f"client.name={name.lower()} data.alpha={alpha}"] for alpha in (1, 100)]
        assert cells == [f"{100 * mean:.2f}" for mean in wanted]
    latex = Path("s/table.tex").read_text()
    assert r"SAM, $\alpha$ = 100 &" in latex
    assert latex.count(r"\mathbf") >= 2
    assert all(Path(f"s/curves.{kind}").is_file() for kind in ("png", "svg", "pdf"))


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ending("doctor", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["engines"]["loop"] == found["engines"]["cohort"] == "works"
    assert found["packages"]["torch"][0].isdigit()
    assert found["machine"]["Python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    ending("doctor")
    assert "  cohort  works" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("timm", "ray") else object())
    monkeypatch.setattr(doctor, "tried", lambda engine: "works")
    assert doctor.extras()["vision"] == "timm missing; pip install 'fedsam[vision]'"
    assert "; pip" not in doctor.extras()["text"]
    with pytest.raises(SystemExit) as caught:
        call("doctor")
    assert caught.value.code == 1
    assert "error: not all is well: ray" in capsys.readouterr().err


@pytest.mark.slow
def test_doctor_starts_engines(inside: Path) -> None:
    """In a process of its own, as what Ray and Flower leave to the garbage collector would be this one's warnings."""
    command = [sys.executable, "-m", "fedsam", "doctor", "--start", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert set(found["engines"].values()) == {"works"}


def test_several_metrics_are_one_setting(inside: Path) -> None:
    words = ["rounds=1", "cohort=2", "metrics=macro_f1,balanced_accuracy", "client.name=sgd,sam"]
    ending("sweep", *words, "--seeds", "1", "out=s", "-q")
    assert len(json.loads(Path("s/compare.json").read_text())) == 2
    (record,) = Path("s/sgd-seed0/metrics.jsonl").read_text().splitlines()
    assert {"test_macro_f1", "test_balanced_accuracy"} <= set(json.loads(record))


@pytest.mark.parametrize("command", ["run", "compare", "sweep"])
def test_where_to_is_an_option_as_well_as_a_key(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["rounds=1", "data.clients=5", "cohort=2", "-q", *(["--seeds", "1"] if command != "run" else [])]
    several = [] if command == "run" else ["client.name=sgd,sam"]
    ending(command, *several, *few, "--out", "one")
    ending(command, *several, *few, "out=other")
    one, other = ({file.name for file in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert one == other != set()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["server.name=sam"], "no such strategy; it is the name of another kind of part, client optimiser; there are"),
        (["alpha=0.1"], "no such key here (it is data.alpha or model.alpha or client.alpha or server.alpha)"),
        (["client.alpha=0.1"], "that has it"),
        (["shards_per_client=2"], "no such key here (it is data.shards_per_client)"),
        (["--resume", "somewhere", "--out", "elsewhere"], "leave out --out"),
    ],
)
def test_what_is_misplaced_is_told_its_place(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = failing(capsys, "run", *words)
    assert status == 2
    assert told in said


def test_a_group_without_a_name_is_the_default_part() -> None:
    assert Run(data={"alpha": 0.1}) == Run.from_keys({"data.alpha": 0.1})
    assert Run(data={"partition": {"alpha": 0.2}}) == Run.from_keys({"data.alpha": 0.2})
    with pytest.raises(InputError, match=r"keys with dots are for Run.from_keys"):
        Run(**{"client.lr": 0.1})


def test_a_copy_keeps_what_is_not_changed() -> None:
    run = Run.from_keys({"client.name": "lookbehind", "client.rho": 0.3, "client.lr": 0.05, "client.k": 3})
    for copy in (run.replace(client={"lr": 0.2}), run.replace(client=run.client.replace(lr=0.2))):
        assert copy.keys() == {**run.keys(), "client.lr": 0.2}
    named = run.replace(client={"name": "sam", "rho": 0.1})
    assert named.keys()["client.lr"] == Run().keys()["client.lr"]
    with pytest.raises(InputError, match="no such key here"):
        run.replace(client={"rhoo": 0.2})
    with pytest.raises(InputError, match="no such key here"):
        run.replace(rho=0.2)
