"""The study of DP-FedSAM, in small: its table says what the runs recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsam.experiments import dp_fedsam

pytest.importorskip("dp_accounting")


def test_the_table_is_of_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dp_fedsam, "NOISES", (0.0, 2.0))
    found = dp_fedsam.main(tmp_path / "study", seeds=2, rounds=2)
    lines = capsys.readouterr().out.strip().splitlines()[-4:]
    assert lines[0].startswith("| z | epsilon | DP-FedAvg | DP-FedSAM | difference")
    for noise, line in zip((0.0, 2.0), lines[2:], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        records = [
            [by_seed[-1] for by_seed in found.metrics[f"{name}, z = {noise:g}"].values()] for name in dp_fedsam.METHODS
        ]
        assert cells[0] == f"{noise:g}"
        assert cells[1] == ("∞" if noise == 0 else f"{records[0][0]['epsilon']:.1f}")
        both = [
            np.array(
                [
                    100 * np.mean([r["test_accuracy"] for r in runs])
                    for runs in found.metrics[f"{name}, z = {noise:g}"].values()
                ]
            )
            for name in dp_fedsam.METHODS
        ]
        for values, cell in zip(both, cells[2:4], strict=True):
            assert cell == f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
        reach = 12.706204736432095 * (both[1] - both[0]).std(ddof=1) / np.sqrt(2)
        assert cells[4] == f"{(both[1] - both[0]).mean():+.2f} ± {reach:.2f}"
        for own, cell in zip(records, cells[5:], strict=True):
            curved = np.array([record["geometry"]["eigenvalues"][0] for record in own])
            assert cell == f"{curved.mean():.2f} ± {curved.std(ddof=1):.2f}"
