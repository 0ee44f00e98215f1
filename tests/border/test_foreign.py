"""What a configuration names and somebody else wrote: found without hiding anything, looked at, and imported only where
it may be.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from fedsam import InputError, Run, simulate
from fedsam.border import foreign
from fedsam.border.foreign import must_build
from fedsam.cli.app import main

NET = """
from pathlib import Path
from torch import nn

Path("imported").touch()

def net(classes: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))
"""
RUN = ["rounds=1", "data.clients=4", "cohort=2", "-q"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a user's module `mine`, whose import leaves a file `imported`."""
    (tmp_path / "mine.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield tmp_path
    sys.modules.pop("mine", None)


def command(*words: str) -> int:
    """The exit status of a command, in this process."""
    try:
        main(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("how", [["-m", "fedsam"], ["-c", "from fedsam.cli.app import main; main()"]])
def test_what_lies_in_the_current_directory_hides_nothing(how: list[str], tmp_path: Path) -> None:
    for name in ("strategies", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "experiments" / "mine.py").write_text(NET)
    if how[0] == "-m":  # with -c Python itself puts the directory first, and nothing else could be imported
        for name in ("random", "matplotlib", "plotly", "typing", "torch", "numpy"):
            (tmp_path / f"{name}.py").write_text("raise ImportError('the one of the current directory')\n")
    words = ["run", "model.name=experiments.mine:net", *RUN]
    done = subprocess.run([sys.executable, *how, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    keys = json.loads((made / "run.json").read_text())["keys"]
    assert (keys["model.name"], keys["model.width"]) == ("experiments.mine:net", 8)


def test_a_run_with_a_model_of_ones_own_is_continued_measured_and_reported(folder: Path) -> None:
    assert command("run", "model.name=mine:net", "out=r", *RUN) == 0
    sys.modules.pop("mine")
    assert command("run", "--resume", "r", "-q") == 0
    assert command("geometry", "r", "--images", "20", "--surface", "3", "--clients", "0", "-q") == 0
    assert command("report", "r") == 0


def test_strategies_and_experiments_are_the_same_modules_under_both_names() -> None:
    for name in ("strategies.averages.swa", "experiments.caldarola2022.leak"):
        short, long = importlib.import_module(name), importlib.import_module(f"fedsam.{name}")
        assert short is long
        assert long.__spec__ is not None
        assert long.__spec__.name == long.__name__ == f"fedsam.{name}"
    old = Run.from_keys({"data.name": "experiments.caldarola2022.leak:LeakyDigits"})
    assert old == Run.from_keys({"data.name": "fedsam.experiments.caldarola2022.leak:LeakyDigits"})


def test_a_function_that_is_defined_anew_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def net(width: int) -> Any:
        return lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes))

    def parameters() -> int:
        run = Run.from_keys({"model.name": f"{__name__}:redefined", "data.clients": 4, "cohort": 2, "rounds": 1})
        return sum(tensor.numel() for tensor in simulate(run).state.values())

    monkeypatch.setattr(sys.modules[__name__], "redefined", net(2), raising=False)
    assert parameters() == 64 * 2 + 2 + 2 * 10 + 10
    first = Run.from_keys({"model.name": f"{__name__}:redefined"})
    assert first == Run.from_keys({"model.name": f"{__name__}:redefined"})
    monkeypatch.setattr(sys.modules[__name__], "redefined", net(5))
    assert parameters() == 64 * 5 + 5 + 5 * 10 + 10
    assert first != Run.from_keys({"model.name": f"{__name__}:redefined"})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.name": "timeit:timeit"}, "'timeit' is a module of Python's own"),
        ({"client.name": "os:system"}, "'os' is a module of Python's own"),
        ({"model.name": "builtins:exec"}, "'builtins' is a module of Python's own"),
        ({"model.name": "test.support:run_code"}, "'test' is a module of Python's own"),
        (
            {"model.name": "numpy.testing:runstring", "model.astr": "1"},
            "does not say that it returns a torch.nn.Module",
        ),
        ({"model.name": "torch.hub:load"}, "does not say that it returns a torch.nn.Module"),
        ({"model.name": "torch.hub:os.system"}, "is not written in Python"),
        ({"model.name": "torch:Tensor"}, "is a class that is no torch.nn.Module"),
        (
            {"model.name": "fedsam.sweeps.grid:settings"},
            "returns dict, as it says itself; must return a torch.nn.Module",
        ),
        ({"model.name": "..:x"}, "must be a name, or package.module:attribute"),
        ({"model.name": ".mine:x"}, "must be a name, or package.module:attribute"),
        ({"client.base": "..:x"}, "must be a name, or package.module:attribute"),
        ({"model.name": "mine:"}, "must be a name, or package.module:attribute"),
        ({"model.name": "mine:net:net"}, "must be a name, or package.module:attribute"),
        ({"model.name": "mine:not there"}, "must be a name, or package.module:attribute"),
        ({"data.name": "mine:net"}, "returns Module, as it says itself; must return a tuple or dict"),
        ({"data.name": "torch.hub:load"}, "does not say that it returns a tuple or dict"),
        ({"data.name": "torch.hub:os.system"}, "is not written in Python"),
        ({"data.name": "fedsam.optim.sgd:SGD"}, "must be a subclass of fedsam.data.base.Dataset, or a callable"),
    ],
)
def test_what_cannot_be_what_it_claims_is_refused(folder: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Run.from_keys({"client.name": "sam", **keys})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; sys.exit(7)", "importing 'mine' failed: SystemExit: 7 (mine.py:1)"),
        ("def net(", "importing 'mine' failed: SyntaxError: "),
        ("1 / 0", "importing 'mine' failed: ZeroDivisionError: division by zero (mine.py:1)"),
        ("import nowhere", "cannot import 'mine' (No module named 'nowhere')"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(folder: Path, body: str, message: str) -> None:
    (folder / "mine.py").write_text(body + "\n")
    with pytest.raises(InputError) as caught:
        Run.from_keys({"model.name": "mine:net"})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Own(nn.Module):
    """A network."""


class Factory:
    def __call__(self) -> nn.Module:
        return Own()


def silent():  # type: ignore[no-untyped-def]
    return Own()


def wrong() -> int:
    return 3


@pytest.mark.parametrize("found", [Own, Factory(), silent, partial(silent), nn.Linear])
def test_callables_that_may_build_a_module(found: Any) -> None:
    must_build(found, "it", nn.Module)


@pytest.mark.parametrize("found", [int, wrong, partial(wrong), exec, partial(exec, "1"), json.loads])
def test_callables_that_may_not(found: Any) -> None:
    with pytest.raises(InputError):
        must_build(found, "it", nn.Module)


def test_a_module_is_named_before_it_is_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", "model.name=mine:net", *RUN) == 0
    note = f"note: importing mine ({folder / 'mine.py'}), which mine:net names"
    assert capsys.readouterr().err.splitlines() == [note]


def test_partition_and_report_import_nothing_that_stands_in_a_file(folder: Path) -> None:
    assert command("run", "model.name=mine:net", "out=r", *RUN) == 0
    sys.modules.pop("mine")
    (folder / "imported").unlink()
    assert command("partition", "r/run.json", "--json") == 0
    assert command("partition", "model.name=mine:net", "data.clients=4", "--json") == 0
    assert command("report", "r") == 0
    assert command("keys") == 0
    (folder / "own.toml").write_text('[data]\nname = "mine:Data"\n')
    assert command("partition", "own.toml") == 2
    assert not (folder / "imported").exists()
    assert command("partition", "data.name=mine:net") == 2  # typed: looked at, and found to be no data set
    assert (folder / "imported").exists()


@pytest.fixture
def of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory and a TOML file of another user."""
    assert command("run", "model.name=mine:net", "out=r", *RUN) == 0
    (folder / "own.toml").write_text('model.name = "mine:net"\n')
    (folder / "plain.toml").write_text("rounds = 1\ndata.clients = 4\ncohort = 2\n")
    sys.modules.pop("mine")
    (folder / "imported").unlink()
    if os.geteuid() == 0:
        for path in [*folder.glob("*.toml"), folder / "r", *(folder / "r").rglob("*")]:
            os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--resume", "r", "-q"],
        ["geometry", "r", "--images", "20", "--surface", "0", "--clients", "0", "-q"],
        ["run", "r/run.json", "out=again", "-q"],
        ["run", "own.toml", *RUN],
    ],
)
def test_what_is_another_users_is_used_only_if_trusted(
    words: list[str], of_another_user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "belongs to another user (12345); what it names would run as you" in line
    assert not (of_another_user / "imported").exists()
    assert command(*words, "--trust") == 0
    assert (of_another_user / "imported").exists()


def test_another_users_file_without_names_of_code_is_just_a_file(of_another_user: Path) -> None:
    assert command("run", "plain.toml", *RUN) == 0


def test_trust_ends_with_the_command(of_another_user: Path) -> None:
    assert command("run", "--resume", "r", "-q", "--trust") == 0
    with pytest.raises(InputError, match="belongs to another user"):
        foreign.must_be_own(of_another_user / "r")
