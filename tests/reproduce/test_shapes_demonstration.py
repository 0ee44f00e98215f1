"""The demonstration of segmentation, much smaller: what it measures, and what it prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsam.experiments import shapes


def test_the_table_is_of_the_last_round_of_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"data.size": 8, "data.domain_samples": 4, "data.domain_test_samples": 3, "evaluate_every": 10}
    small |= {"model.width": 4, "model.depth": 1, "geometry.images": 6, "geometry.top": 5, "engine.threads": 1}
    monkeypatch.setattr(shapes, "COMMON", {**shapes.COMMON, **small})
    found = shapes.main(tmp_path / "runs", seeds=2, rounds=20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5] == "| setting | seen mIoU (%) | unseen mIoU (%) | λ1 | λ1 / λ5 |"
    for setting, line in zip(shapes.SETTINGS, lines[-3:], strict=True):
        rows = shapes.measured(found, setting)
        assert rows.shape == (2, 4)
        assert np.isfinite(rows).all()
        last = [records[-1] for records in found.metrics[setting].values()]
        assert rows[:, 1].tolist() == [100 * record["unseen_miou"] for record in last]
        assert line.startswith(f"| {setting} | {rows[:, 0].mean():.2f} ± {rows[:, 0].std(ddof=1):.2f} |")
    one, other = (shapes.measured(found, setting) for setting in ("FedASAM", "FedASAM + SWA"))
    assert not np.array_equal(one, other)


def test_it_has_four_clients_to_each_of_six_domains() -> None:
    run = shapes.settings(Path("runs"))["FedASAM + SWA"]
    federation = run.data.load(0)
    names = [name for own in federation.groups_of(range(federation.clients)) for name in own]
    assert sorted(names.count(name) for name in set(names)) == [4] * 6
    assert len(federation.further["unseen"]) == 2 * (100 + 40)
