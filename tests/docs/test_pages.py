"""What the pages say is so: their Python runs as it stands, their commands name keys that there are."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedsam
from fedsam import Run
from fedsam.cli.settings import parse
from fedsam.sweeps import grid

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ELSEWHERE = {"flower-and-ray"}  # tests/cli/test_documentation.py runs its Python
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
RANGE = re.compile(r"(log:)?[\d.e-]+\.\.[\d.e-]+")
WITH_PYTHON = [page for page in PAGES if page.stem not in ELSEWHERE and PYTHON.search(page.read_text())]


def commands(page: Path) -> list[list[str]]:
    """The words of each fedsam command of a page."""
    lines = "\n".join(SHELL.findall(page.read_text())).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.partition("&&")[2] or line, comments=True) for line in lines]
    return [each[1:] for each in words if each[:1] == ["fedsam"]]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of its own, in which modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_from_its_beginning_to_its_end(page: Path, inside: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")), 1):
        file = re.match(r"# (\w+\.py)\n", code)
        if file:
            (inside / file[1]).write_text(code, encoding="utf-8")
            sys.modules.pop("mine", None)
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)


MINE = """
from fedsam.config import key
from fedsam.optim.base import Perturbed
from fedsam.strategies import FedAvg
from torch import nn


class SignSAM(Perturbed):
    rho: float = key(0.1, "radius", "no paper", ge=0.0)

    def perturbation(self, theta_P, gradient_P, layout):
        return self.rho * gradient_P.sign()


class Pulled(FedAvg):
    mu: float = key(0.01, "strength of the pull", "no paper", ge=0.0)


def net(in_channels: int, classes: int, width: int = 32) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes))
"""


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_commands_name_keys_and_options_that_there_are(page: Path, inside: Path) -> None:
    """As far as it can be seen without data and without training."""
    (inside / "mine.py").write_text(MINE)
    (inside / "mine.toml").write_text("rounds = 3\n")
    (inside / "best.toml").write_text("rounds = 3\n")
    for line in commands(page):
        job, words = line[0], [word for word in line[1:] if "=" in word and not word.startswith("-")]
        if job not in {"run", "compare", "sweep", "tune", "study", "partition", "check"} or "--resume" in line:
            continue
        if any(name in word for word in words for name in ("mine:Line", "package.module", "KEY=")):
            continue
        given = {name: value for name, value in parse(words).items() if not RANGE.fullmatch(str(value))}
        for settings in grid.settings(given).values() if grid.is_grid(given) else [Run.from_keys(given)]:
            assert settings.rounds >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_errors_are_told_as_the_page_says(page: Path) -> None:
    for line, told in re.findall(r"```console\n\$ fedsam run (.*)\n(error: .*)\n```", page.read_text()):
        with pytest.raises(fedsam.InputError) as caught:
            Run.from_keys(parse(line.split()))
        said = told.removesuffix("...")
        assert f"error: {caught.value}".startswith(said)
        assert said != told or f"error: {caught.value}" == told


def test_every_field_of_a_record_is_told() -> None:
    page = (DOCS / "reference" / "records.md").read_text(encoding="utf-8")
    fields = set(re.findall(r"`(\w+)`", page))
    common = {"rounds": 4, "evaluate_every": 2, "cohort": 4, "data.clients": 10}
    average = {"average.name": "swa", "average.start": 0.25, "average.cycle": 1}
    own = {"data.local_test": 0.2, "local.every": 2, "diagnostics.every": 2}
    flatness = {"geometry.every": 4, "geometry.images": 20, "geometry.trace_vectors": 2}
    system = {"system.name": "simulated", "system.dropout": 0.3, "attack.name": "pgd", "attack_images": 20}
    for given in ({**average, **own, **flatness}, system):
        record = fedsam.simulate(Run.from_keys({**common, **given}), quiet=True).metrics[-1]
        for key in names_of(record):
            name = re.sub(r"accuracy$", "METRIC", re.sub(r"(^|_)test_", r"\1SPLIT_", key))
            assert name in fields or name in page.replace(",", " ").split(), name


def names_of(record: dict[str, Any]) -> Iterator[str]:
    for name, value in record.items():
        yield name
        if isinstance(value, dict):
            yield from names_of(value)


def test_pages_begin_with_what_they_let_you_do() -> None:
    kinds = ("guide", "start", "concepts", "develop")
    for page in (page for kind in kinds for page in (DOCS / kind).glob("*.md")):
        lines = [line for line in page.read_text().splitlines() if line.strip()]
        assert lines[0].startswith("# "), page.name
        assert lines[1].startswith("This page lets you"), page.name


def test_every_page_is_two_clicks_away() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert f" {page.relative_to(DOCS).as_posix()}\n" in navigation, page.name


def test_every_command_has_its_options_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "hooks")
    import commands as hook  # type: ignore[import-not-found]

    page = hook.page()
    for command in ("run", "compare", "sweep", "tune", "study heterogeneity", "geometry", "report", "reproduce"):
        assert f"\n## fedsam {command}\n" in page
    tune = page.partition("## fedsam tune\n")[2].partition("\n## ")[0]
    assert all(f"`--{option}`" in tune for option in ("trials", "search", "grace", "workers", "out"))


def test_the_pictures_are_those_of_the_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the script runs, and that the page's numbers are those of the partitions."""
    from PIL import Image

    monkeypatch.syspath_prepend(DOCS / "hooks")
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(tmp_path)])
    import pictures  # type: ignore[import-not-found]

    pictures.main()
    page = (DOCS / "concepts" / "partitions.md").read_text()
    for name in ("dirichlets", "partitions"):
        with Image.open(tmp_path / f"{name}.png") as made, Image.open(DOCS / "concepts" / f"{name}.png") as kept:
            assert made.size == kept.size
        assert f"]({name}.png)" in page
    iid = fedsam.partition(keys={"data.clients": pictures.CLIENTS, "data.partition": "iid"}).summary()
    assert f"the {iid['js_mean']:.2f} bits under `iid`" in page
    assert f"Clients of {iid['sizes'][0]} images" in page
