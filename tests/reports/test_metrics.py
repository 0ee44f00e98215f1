"""Runs that are judged by an error, of which less is better and which is no share: how it is compared and told; and
metrics beside the one that runs are judged by.
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from fedsam import Run
from fedsam.errors import InputError
from fedsam.measure.score import ACCURACY, LOSS, Score
from fedsam.reports.clients import to_the
from fedsam.reports.figure import Figure
from fedsam.reports.learning import results
from fedsam.reports.metrics import metrics_section
from fedsam.reports.parallel import Parallel, Upright, viridis
from fedsam.reports.read import gather
from fedsam.reports.schema import Clients, Geometry, check
from fedsam.reports.section import Table
from fedsam.reports.settings import Setting, group
from fedsam.reports.tuning import write_tuning
from fedsam.reports.write import write_report
from fedsam.tuning import outputs
from fedsam.tuning.halving import Halving
from fedsam.tuning.ledger import Ledger, Report
from fedsam.tuning.result import Tuned
from fedsam.tuning.search.grid import Grid
from fedsam.tuning.space import space_of
from fedsam.tuning.trial import write
from tests.support.report_runs import everything, figures, geometry, partition, table, write_run
from tests.support.report_runs import records as accurate

RMSE = Score("rmse", "lower")
TOLD = [vars(RMSE), {"name": "loss", "better": "lower", "unit": ""}, {"name": "mae", "better": "lower", "unit": "km"}]


def records(level: float, rounds: int = 40) -> list[dict[str, Any]]:
    """Recorded rounds whose error falls to a level, and is lowest in the last but one."""
    found = []
    for at in range(10, rounds + 1, 10):
        rmse = level * (1 + 40 / at) * (0.7 if at == rounds - 10 else 1)
        record = {"round": at, "test_rmse": rmse, "test_loss": rmse**2, "test_mae": rmse / 2, "train_loss": rmse}
        record |= {"raw_test_rmse": 1.25 * rmse, "lr": 0.1, "bytes_up": 1000, "bytes_down": 1000, "seconds": 0.1}
        half = {"mean": rmse, "std": 0.1, "worst_decile": 2 * rmse, "below": 3, "evaluated": 4}
        record["local"] = {"before": half | {"rmse": [rmse, None, 2 * rmse]}, "after": half | {"rmse": [rmse, 0.3]}}
        found.append(record | {"simulated_seconds": at, "turnout": {"rounds": 10, "trained": 20, "asked": 20}})
    return found


def judged(path: Path, told: Any) -> None:
    """Say in run.json what is recorded."""
    described = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(described | {"metrics": told}))


def renamed(value: Any) -> Any:
    """A geometry of classification as that of this metric."""
    if isinstance(value, dict):
        return {name.replace("accuracy", "rmse"): renamed(part) for name, part in value.items()}
    return [renamed(part) for part in value] if isinstance(value, list) else value


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two settings, of which the second is better, with two seeds each."""
    for name, level in (("sgd", 0.5), ("sam", 0.25)):
        for seed in (0, 1):
            local = {"round": 40, "examples": [3, 4, 5], "rmse": [level, 3 * level, None], "loss": [0.1, 0.9, None]}
            divided = partition(seed=seed) | {"classes": None, "label_counts": [[3], [4]], "measures": {"gini": 0.25}}
            path = tmp_path / "runs" / f"{name}-{seed}"
            own = {"client.name": name, "seed": seed, "data.sigma": 0.5, "average.name": "swa"}
            held = {"clients": local, "partition": divided, "geometry": renamed(geometry(seed))}
            write_run(path, own, records(level + 0.01 * seed), **held)
            judged(path, TOLD)
    return tmp_path / "runs"


def settings_of(runs: Path) -> list[Setting]:
    """Those of a directory, SGD first."""
    return sorted(group(gather([runs])[0])[0], key=lambda setting: setting.name != "SGD")


def test_files_and_page_of_a_search(tmp_path: Path) -> None:
    space = space_of({"client.lr": [0.1, 0.2, 0.3, 0.4, 0.5]})
    ledger = Ledger(Grid().start(space, 0, 5), Halving(40, 10), 5, 1, score=RMSE)
    while trial := ledger.begin():
        if trial.number != 1:
            ledger.report(trial.number, Report(40, 0.5 - 0.1 * trial.number, 1.0, 2.0))
        ledger.end(trial.number, "it diverged" if trial.number == 1 else "")
    best = ledger.best()
    assert best is not None
    assert best.number == 4
    outputs.write_trials(ledger.trials, space, RMSE, tmp_path)
    outputs.write_best({"client.lr": 0.5}, best, tmp_path)
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,client.lr,rounds,rmse,loss,state,seconds,error"
    assert lines[2] == "1,0.2,0,,,failed,0,it diverged"  # no infinity, which not every program reads
    assert (tmp_path / "best.toml").read_text().startswith("# Trial 4: rmse 0.1 on the validation examples.")
    write(ledger.trials[1], tmp_path / "1")
    assert json.loads((tmp_path / "1" / "trial.json").read_text())["rmse"] is None
    write_run(tmp_path / "best" / "seed1000", {}, records(0.2))
    judged(tmp_path / "best" / "seed1000", TOLD)
    tuned = Tuned(space, ledger.trials, best, 40, {1000: 0.2, 1001: 0.3}, RMSE, tmp_path)
    assert (tuned.summary()["validation_rmse"], tuned.summary()["test_rmse"]) == (pytest.approx(0.1), [0.2, 0.3])
    page = write_tuning(tuned, tmp_path / "report.html").read_text()
    drawn = figures(page)["against-client-lr"]
    assert drawn["layout"]["yaxis"]["title"]["text"] == "validation rmse"
    assert "tickformat" not in drawn["layout"]["yaxis"]
    assert [trace["y"] for trace in drawn["data"]] == [pytest.approx([0.5, 0.3, 0.2, 0.1]), [None]]
    assert [row[0] for row in table(page, "trial", "", "client.lr", "rmse", "loss")] == ["4", "3", "2", "0", "1"]
    assert "A trial that failed is not shown." in page
    assert "The validation rmse of a best trial is too low" in page


def test_the_best_lines_are_bright_and_in_front() -> None:
    up = Parallel([Upright("rmse", [3.0, 1.0, 2.0])], lower=False).lines()
    down = Parallel([Upright("rmse", [3.0, 1.0, 2.0])], lower=True).lines()
    assert [shares for shares, _ in up] == [[0.0], [0.5], [1.0]]
    assert [shares for shares, _ in down] == [[1.0], [0.5], [0.0]]
    assert up[-1][1] == down[-1][1] == viridis(1.0)


def words(html: str) -> str:
    """What of a page is for a reader: text outside scripts, and titles and ticks of the figures."""
    shown = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.S)
    axes = [
        f"{axis['title']['text']} {axis.get('tickformat', '')}"
        for figure in figures(html).values()
        for name, axis in figure["layout"].items()
        if name.endswith("axis")
    ]
    return "\n".join([unescape(re.sub(r"<[^>]+>", " ", shown)), *axes])


def test_the_report_goes_by_the_metric(runs: Path) -> None:
    html = write_report([runs], runs / "r.html").read_text()
    shown = words(html)
    shares = {line for line in shown.splitlines() if "%" in line.replace("95 % interval", "")}
    assert shares == {"share of clients .3~%"}  # of the distributions over clients
    assert "accuracy" not in shown.replace("accuracy class", "")
    assert "nats" not in shown
    drawn = figures(html)
    assert {"rmse", "noise-rmse", "contour-rmse-1", "plane-rmse-1", "line-rmse", "clients", "traffic"} < set(drawn)
    assert drawn["rmse"]["layout"]["yaxis"]["title"]["text"] == "test rmse"
    assert drawn["clients"]["layout"]["xaxis"]["title"]["text"] == "rmse on the client's test data"
    assert "lines farther to the left are better" in shown
    assert to_the(ACCURACY) == "lines farther to the right are better"
    assert "labels" not in drawn


def test_the_tables_of_the_report_go_by_the_metric(runs: Path) -> None:
    html = write_report([runs], runs / "r.html").read_text()
    (sam, sgd) = sorted(table(html, "setting", "seeds", "rmse", "raw model", "gain by averaging"))
    assert (sam[2], sgd[2]) == ("0.4632 ± 0.013", "0.9174 ± 0.013")  # of rounds 30 and 40
    by_seed = table(html, "setting", "seed", "last 20 rounds", "last record", "best record")
    assert {row[4].partition(" ")[2] for row in by_seed} == {"(round 30)"}  # the lowest, not the highest
    local = table(html, "setting", "mean", "std", "worst decile", "above", "clients")
    assert len(local) == 4
    worst = {row[0]: row[-1] for row in table(html, "setting", "clients", "mean", "by examples")}
    assert {name.lower(): value for name, value in worst.items()} == {"sgd": "1.5", "sam": "0.75"}


def test_targets_are_reached_from_above(runs: Path) -> None:
    (sgd, _) = settings_of(runs)
    target = [block for block in results([sgd]).blocks if isinstance(block, Table)][1]
    assert [row[0].partition(" ")[2] for row in target.rows] == ["(× 1.11)", "(× 1.05)", "(× 1)"]
    assert [row[2] for row in target.rows] == ["30", "30", "30"]  # 20 and 10 are above


def test_runs_of_another_metric_are_left_out(runs: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "other", {}, accurate(20, 0))
    kept, left_out = gather([runs, tmp_path / "other"])
    assert len(kept) == 4
    (line,) = left_out
    assert "is judged by accuracy, the others by rmse" in line


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([{"name": "rmse", "better": "up", "unit": ""}], r"metrics\.0\.better"),
        ([{"name": "rmse"}], r"metrics\.0\.better: field required"),
        ({}, "run.json cannot be read"),
        ([vars(Score("mape", "lower"))], "a record lacks test_mape"),
    ],
)
def test_a_run_that_says_nonsense_of_its_metrics_is_refused(runs: Path, told: Any, message: str) -> None:
    judged(runs / "sgd-0", told)
    with pytest.raises(InputError, match=message):
        gather([runs / "sgd-0"])


def test_a_run_that_says_nothing_is_judged_by_accuracy(tmp_path: Path) -> None:
    write_run(tmp_path / "old", {}, accurate(20, 0))
    ((run,), _) = gather([tmp_path / "old"])
    assert run.scores == [ACCURACY, LOSS]
    assert Run().learnt.scores == (ACCURACY, LOSS)


@pytest.mark.parametrize(
    ("kind", "found", "message"),
    [
        (Clients, {"examples": [1], "rmse": ["x"]}, r"rmse\.0: "),
        (Clients, {"examples": [1], "rmse": [1.0, 2.0]}, "examples and rmse are not of one length"),
        (Geometry, {"surface": {"x": [0.0], "y": [0.0], "rmse": [[1.0, 2.0]]}}, "surface.rmse is not 1 rows of 1"),
        (Geometry, {"surface": {"x": [0.0], "y": [0.0], "rmse": [["x"]]}}, r"surface\.rmse\.0\.0: "),
        (Geometry, {"line": {"t": [0.0], "rmse": "x"}}, r"line\.rmse: "),
        (Geometry, {"noise": [{}, {"rmse_std": [1]}]}, r"noise\.1\.rmse_std: "),
    ],
)
def test_what_is_no_number_of_the_metric_is_found(kind: Any, found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(kind, found, "rmse")


CLASSES = [Score("macro_f1", unit="share"), Score("per_class_accuracy", unit="share")]
CLASSES += [Score("confusion_matrix", unit="examples")]


@pytest.fixture
def classified(tmp_path: Path) -> list[Setting]:
    """A setting of two seeds with metrics of three classes, of which one run lacks the last."""
    for seed in (0, 1):
        metrics = accurate(20, seed)
        metrics[-1] |= {"test_macro_f1": 0.5 + 0.1 * seed, "test_per_class_accuracy": [0.5, 0.25 * seed, None]}
        metrics[-1]["test_confusion_matrix"] = [[2, 2 + 4 * seed, 0], [0, 8, 0], [0, 0, 0]]
        write_run(tmp_path / str(seed), {"seed": seed}, metrics)
        judged(tmp_path / str(seed), [vars(score) for score in (ACCURACY, LOSS, *CLASSES)])
    return group(gather([tmp_path])[0])[0]


def test_numbers_lists_and_tables_at_the_end(classified: list[Setting]) -> None:
    section = metrics_section(classified)
    assert section
    numbers, bars, cells = section.blocks
    assert isinstance(numbers, Table)
    assert list(numbers.header) == ["setting", "macro f1 (%)"]
    assert numbers.rows[0][1] == "55.00 ± 7.07"
    assert isinstance(bars, Figure)
    (trace,) = bars.plotly()["data"]
    assert (trace["x"], trace["y"]) == ([0, 1], [0.5, 0.125])  # without the class that has no examples
    assert isinstance(cells, Figure)
    assert (cells.x.label, cells.y.label) == ("predicted class", "class")
    (heat,) = cells.plotly()["data"]
    assert heat["z"] == [pytest.approx([2 / 6, 4 / 6, 0]), [0, 1, 0], [0, 0, 0]]  # shares of each row


def test_settings_have_figures_of_their_own(classified: list[Setting]) -> None:
    section = metrics_section([classified[0]] * 2)
    assert section
    ids = [block.id for block in section.blocks if isinstance(block, Figure)]
    assert ids == ["per-class-accuracy-1", "per-class-accuracy-2", "confusion-matrix-1", "confusion-matrix-2"]


@pytest.mark.parametrize("value", ["x", [], [[]], [["x"]], [[1], [1, 2]], {"a": 1}, [1, [2]]])
def test_what_is_neither_is_left_out(classified: list[Setting], value: Any) -> None:
    for run in classified[0].runs.values():
        run.metrics[-1] |= {"test_confusion_matrix": value, "test_per_class_accuracy": value, "test_macro_f1": value}
    assert metrics_section(classified) is None


def test_there_is_no_section_without_them(tmp_path: Path) -> None:
    assert metrics_section(group(gather([everything(tmp_path)])[0])[0]) is None
