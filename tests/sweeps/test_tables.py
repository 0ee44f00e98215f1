"""Tables and curves of runs that are judged by an error: in its own unit, not in percent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsam.measure.score import ACCURACY, Score
from fedsam.reports.curves import curves
from fedsam.sweeps import tables

RMSE = Score("rmse", "lower")


def errors(level: float) -> list[dict[str, Any]]:
    return [{"round": at, "test_rmse": level * (1 + 40 / at), "test_loss": 1.0} for at in (10, 20, 30)]


def test_tables_of_a_comparison() -> None:
    rows: list[dict[str, Any]] = [
        {"setting": "a", "seeds": [0, 1], "test_rmse": [0.5, 0.6], "mean": 0.55, "std": 0.0707},
        {"setting": "b", "seeds": [0, 1], "test_rmse": [0.4, 0.4], "mean": 0.4, "std": 0.0},
    ]
    rows[1] |= {"difference": -0.15, "interval": 0.6352}
    assert tables.as_csv(rows).splitlines()[1].startswith("a,0.55,0.0707,,,,0.5,0.6")
    markdown = tables.as_markdown(rows, "What.", RMSE)
    assert "| setting | rmse | less the first |" in markdown
    assert "| a | 0.55 ± 0.071 |  |" in markdown
    assert "| b | 0.4 ± 0 | -0.15 ± 0.64 |" in markdown
    assert r"setting & rmse & less the first \\" in tables.as_latex(rows, "What.", RMSE)


def test_the_caption_of_tables_is_in_the_unit(tmp_path: Path) -> None:
    for score, said in (
        (RMSE, "Test rmse, mean of the last 3 rounds; ± standard deviation over seeds; differences are paired over"
               " seeds, with the 95 % confidence interval."),
        (Score("rmse", "lower", "km"), "Test rmse (km), mean of"),
        (Score("rmse", "lower", "km"), "paired over seeds, in km, with"),
        (ACCURACY, "paired over seeds, in percentage points, with"),
    ):  # fmt: skip
        rows = [{"setting": "a", "seeds": [0, 1], f"test_{score.name}": [0.4, 0.6], "mean": 0.5, "std": 0.1}]
        tables.write(rows, tmp_path, score, 3)
        assert said in (tmp_path / "table.md").read_text()


def test_curves_of_a_comparison() -> None:
    (axes,) = curves({"a": {0: errors(3.0), 1: errors(4.0)}}, RMSE, "a table").axes
    assert axes.get_ylabel() == "test rmse"
    assert axes.lines[0].get_ydata()[0] == pytest.approx(17.5)  # neither in percent, nor cut at 1
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() > 19
