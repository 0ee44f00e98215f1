"""The page that compares methods: its files are grids that can be run, and hold what its table says was chosen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedsam.cli.settings import parse
from fedsam.sweeps import grid

RESULTS = Path(__file__).parents[2] / "docs" / "results"
FILES = sorted((RESULTS / "methods").glob("*.toml"))
ROW = re.compile(r"^\| (?P<method>\w+) \| (?P<chosen>[^|]*=[^|]*) \| (?P<count>\d+) \| [\d.]+ ± [\d.]+ % \|$", re.M)
ROWS = {row["method"].lower(): row for row in ROW.finditer((RESULTS / "methods.md").read_text(encoding="utf-8"))}


def test_there_is_a_file_for_every_row() -> None:
    assert ROWS.keys() == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_holds_what_was_tried(path: Path) -> None:
    assert path.read_text().startswith(f"# fedsam compare docs/results/methods/{path.name} ")
    runs, row = grid.settings(parse([str(path)])), ROWS[path.stem]
    assert len(runs) == int(row["count"])
    chosen = dict(word.split("=") for word in row["chosen"].split())
    of_each = [run.keys() for run in runs.values()]
    assert sum(all(str(keys[name]) in (value, f"{value}.0") for name, value in chosen.items()) for keys in of_each) == 1
