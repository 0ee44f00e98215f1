"""The report's sections of turnout and client updates: numbers of the records, absent where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam.reports.write import write_report
from tests.support.report_runs import anchors, figures, lines, records, table, write_run


def with_turnout(seed: int) -> list[dict[str, Any]]:
    found = records(40, seed)
    for record in found:
        at = record["round"]
        counts = {"rounds": 5, "empty": int(at == 10), "asked": 25, "trained": 18 + seed, "shortened": 4}
        record["turnout"] = counts | {"dropout": 5 - seed, "work": 0, "deadline": 2}
        record["simulated_seconds"] = 3.0 * at + seed
        if at % 10 == 0:
            numbers = {"norm_mean": 2.0, "norm_std": 0.5, "mean_norm": 1.0, "drift": 1.5, "diversity": 4.0}
            cosine = None if at == 40 else at / 100
            record["diagnostics"] = numbers | {"cosine": cosine, "negative": 0.25, "clients": 5}
    return found


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("turnout")
    for seed in (0, 1):
        own = {"system.name": "simulated", "seed": seed}
        write_run(root / "runs" / f"real-{seed}", own, with_turnout(seed))
        write_run(root / "runs" / f"ideal-{seed}", {"system.name": "none", "seed": seed}, records(40, seed))
    out = write_report([root / "runs"], root / "report.html", figures=root / "figures")
    assert {"turnout.png", "simulated-time.svg", "updates-cosine.png"} <= {p.name for p in (root / "figures").iterdir()}
    return Path(out).read_text()


def test_clients_of_a_round_by_reason(html: str) -> None:
    found = lines(figures(html)["turnout"])
    rounds = list(range(5, 41, 5))
    assert found == {
        "simulated: trained": (rounds, pytest.approx([3.7] * 8)),
        "simulated: dropped out": (rounds, pytest.approx([0.9] * 8)),
        "simulated: past the deadline": (rounds, pytest.approx([0.4] * 8)),
    }


def test_accuracy_against_simulated_time(html: str) -> None:
    seconds, accuracy = lines(figures(html)["simulated-time"])["simulated"]
    assert seconds == pytest.approx([3.0 * at + 0.5 for at in range(5, 41, 5)])
    both = [[record["test_accuracy"] for record in records(40, seed)] for seed in (0, 1)]
    assert accuracy == pytest.approx(np.mean(both, axis=0).tolist())


def test_the_table_counts_all_rounds(html: str) -> None:
    (row,) = table(html, "setting", "asked", "trained", "of these with part of their steps")
    assert row == ["simulated", "200", "148", "32", "36", "0", "16", "1", "120.5"]


def test_client_updates_against_rounds(html: str) -> None:
    found = figures(html)
    assert lines(found["updates-cosine"])["simulated"] == ([10, 20, 30], pytest.approx([0.1, 0.2, 0.3]))
    assert lines(found["updates-diversity"])["simulated"] == ([10, 20, 30, 40], [4.0] * 4)
    assert lines(found["updates-negative"])["simulated"][1] == [0.25] * 4
    assert {"updates-norm-mean", "updates-norm-std", "updates-mean-norm", "updates-drift"} <= set(found)


def test_runs_without_either_have_no_such_section(html: str, tmp_path: Path) -> None:
    assert {"turnout", "updates"} <= set(anchors(html))
    write_run(tmp_path / "run", {}, records(40, 0))
    plain = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    assert not {"turnout", "updates"} & set(anchors(plain))
