"""The documentation's examples, run as they stand; it can be built, and what is generated in it is not stale."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import Run, simulate
from fedsam.reference.__main__ import GENERATED, Generated

pytest.importorskip("flwr")
from flwr.app import Context, RecordDict

from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide" / "flower-and-ray.md").read_text()


def example(name: str) -> str:
    """The block of Python that begins with `# name`."""
    (found,) = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", GUIDE, re.DOTALL)
    return found


@pytest.mark.parametrize("part", GENERATED, ids=lambda part: f"{part.file} {part.begin}")
def test_what_is_made_from_the_modules_is_not_stale(part: Generated) -> None:
    text = (ROOT / part.file).read_text(encoding="utf-8")
    assert part.written(text) == text, f"{part.file} is stale; run `make format`"
    assert part.written(text.replace(part.begin + "\n", part.begin + "\nan old line\n")) == text


@pytest.fixture
def apps(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules client_app and server_app, from the guide."""
    monkeypatch.syspath_prepend(inside)
    for name in ("client_app", "server_app"):
        (inside / f"{name}.py").write_text(example(f"{name}.py"))
        assert len(example(f"{name}.py").splitlines()) <= 24
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)  # type: ignore[attr-defined]
    return importlib.import_module("client_app"), importlib.import_module("server_app")


@pytest.mark.usefixtures("inside_flower")
def test_a_flower_app_of_ones_own(apps: Any, capsys: pytest.CaptureFixture[str]) -> None:
    client_app, server_app = apps
    grid = Nodes(20, app=client_app.app)
    server_app.app(grid, Context(1, 0, {}, RecordDict(), {}))
    assert "averaged over rounds" in capsys.readouterr().out
    kinds = [kind for kind, _ in grid.log]
    assert (kinds.count("train"), kinds.count("evaluate")) == (8 * 10, 8 * 4)


def test_a_strategy_of_flowers() -> None:
    from flwr.serverapp.strategy import Krum

    from fedsam.flower.stock import FromFlower

    assert "server.name=flwr:Krum server.num_malicious_nodes=1" in GUIDE
    keys = {"server.name": "flwr:Krum", "server.num_malicious_nodes": 1, "cohort": 5, "rounds": 2}
    named, given = Run.from_keys(keys), Run(server=FromFlower(Krum(num_malicious_nodes=1)), cohort=5, rounds=2)
    results = [simulate(run) for run in (named, given)]
    assert results[0].digest == results[1].digest
    assert np.isfinite(results[0].metrics[-1]["test_loss"])


def test_the_readmes_python_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = re.findall(r"```python\n(from fedsam.*?)```\n\nprints\n\n```\n(.*?)```", README, re.DOTALL)[0]
    exec(compile(code, "README.md", "exec"), {})
    found = capsys.readouterr().out
    assert float(found) == pytest.approx(float(printed), abs=0.01)  # other kernels round otherwise


def test_the_readme_is_short() -> None:
    assert 80 <= len(README.splitlines()) <= 120
    assert all(word in README for word in ("make demo", "make test", "fedsam run", "fedsam tune", "fedsam study"))


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """Strict, also about links and anchors; the pages open from disk, and nothing in them is fetched."""
    pytest.importorskip("mkdocs")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 20
    for page in pages:
        fetched = re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(https?://[^"' >]+)""", page.read_text())
        assert not fetched, f"{page.name} fetches {fetched[0]}"
