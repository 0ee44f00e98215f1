"""The README's Flower examples, run as they stand."""

from __future__ import annotations

import importlib
import re
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


def example(name: str) -> str:
    """The block of Python that begins with `# name`."""
    (found,) = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", README, re.DOTALL)
    return found


@pytest.mark.parametrize("part", GENERATED, ids=lambda part: part.file)
def test_what_is_made_from_the_modules_is_not_stale(part: Generated) -> None:
    text = (ROOT / part.file).read_text(encoding="utf-8")
    assert part.written(text) == text, f"{part.file} is stale; run `make format`"
    assert part.written(text.replace(part.begin + "\n", part.begin + "\nan old line\n")) == text


@pytest.fixture
def apps(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules client_app and server_app, from the README."""
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

    assert "server.name=flwr:Krum server.num_malicious_nodes=1" in README
    keys = {"server.name": "flwr:Krum", "server.num_malicious_nodes": 1, "cohort": 5, "rounds": 2}
    named, given = Run.from_keys(keys), Run(server=FromFlower(Krum(num_malicious_nodes=1)), cohort=5, rounds=2)
    results = [simulate(run) for run in (named, given)]
    assert results[0].digest == results[1].digest
    assert np.isfinite(results[0].metrics[-1]["test_loss"])
