"""The study of heterogeneity: its points are what the run directories say, and its figures are its points."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, RunError
from fedsam.reports.heterogeneity import default_against, heterogeneity, points
from fedsam.reports.read import load
from fedsam.reports.settings import group
from fedsam.reports.write import write_report
from fedsam.runs.progress import Progress
from fedsam.sweeps.studies import Found, settings, study
from tests.support.commands import ending
from tests.support.report_runs import anchors, figures, lines, partition, records, table, write_run

SMALL = {"data.clients": "8", "cohort": "3", "rounds": "4", "evaluate_every": "2", "model.width": "4"}
SMALL |= {"client.name": "sgd,sam", "data.alpha": "0.1,100", "data.local_test": "0.25", "local.every": "4"}
MORE = {"geometry.images": "40", "geometry.top": "1"}
NAMES = {"sgd": "SGD", "sam": "SAM"}


def quiet(out: Path, seeds: int = 2, against: str | None = None, **keys: str) -> Found:
    return study(settings({**SMALL, **keys}), seeds, Progress(quiet=True), out=out, against=against)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Path]:
    out = tmp_path_factory.mktemp("study") / "out"
    return study(settings({**SMALL, **MORE}, hessian=True), 2, Progress(quiet=True), out=out), out


def by_hand(out: Path) -> dict[tuple[str, float], dict[str, Any]]:
    """Means and sample standard deviations over the two seeds, from the files of the runs."""
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for run in sorted(out.glob("*/run.json")):
        keys = json.loads(run.read_text())["keys"]
        written = [json.loads(line) for line in (run.parent / "metrics.jsonl").read_text().splitlines()]
        measures = json.loads((run.parent / "partition.json").read_text())["measures"]
        own = found.setdefault((NAMES[keys["client.name"]], keys["data.alpha"]), {})
        values = {"accuracy": statistics.fmean(record["test_accuracy"] for record in written)}
        values["lambda_max"] = written[-1]["geometry"]["eigenvalues"][0]
        values |= {f"worst_{half}": written[-1]["local"][half]["worst_decile"] for half in ("before", "after")}
        for name, value in {**values, **measures}.items():
            own.setdefault(name, []).append(value)
    return found


def test_points_are_what_the_runs_wrote(done: tuple[Found, Path]) -> None:
    result, out = done
    expected = by_hand(out)
    assert [(row["method"], row["data"]) for row in result.rows()] == [
        (method, f"alpha = {alpha:g}") for method in ("SGD", "SAM") for alpha in (0.1, 100)
    ]
    with (out / "study.csv").open() as file:
        from_csv = list(csv.DictReader(file))
    for row, line in zip(result.rows(), from_csv, strict=True):
        own = expected[row["method"], float(row["data"].partition("= ")[2])]
        for name in ("accuracy", "lambda_max", "worst_before", "worst_after"):
            assert row[f"{name}_mean"] == pytest.approx(sum(own[name]) / 2)
            assert row[f"{name}_std"] == pytest.approx(abs(own[name][0] - own[name][1]) / math.sqrt(2))
            assert float(line[f"{name}_mean"]) == row[f"{name}_mean"]
        for name in ("js_mean", "emd_mean", "classes_mean", "gini"):
            assert row[name] == pytest.approx(sum(own[name]) / 2)
        assert line["seeds"] == "2"
    assert json.loads((out / "study.json").read_text()) == json.loads(json.dumps(result.rows()))
    assert result.against == "js"


def test_the_page_draws_accuracy_against_divergence(done: tuple[Found, Path]) -> None:
    _, out = done
    html = (out / "report.html").read_text()
    drawn = figures(html)
    assert {"study", "study-lambda", "study-worst", "study-adapted"} < set(drawn)
    assert anchors(html).index("heterogeneity") < anchors(html).index("division")
    expected = by_hand(out)
    for id, name in {"study": "accuracy", "study-lambda": "lambda_max", "study-worst": "worst_before"}.items():
        found = lines(drawn[id])
        for method in ("SGD", "SAM"):
            own = [expected[method, alpha] for alpha in (100.0, 0.1)]  # from alike to unlike
            x, y = found[method]
            assert x == pytest.approx([sum(at["js_mean"]) / 2 for at in own])
            assert x == sorted(x)
            assert y == pytest.approx([sum(at[name]) / 2 for at in own])
            half = [abs(at[name][0] - at[name][1]) / math.sqrt(2) for at in own]
            low, high = found[f"{method}: mean − std"][1], found[f"{method}: mean + std"][1]
            top = math.inf if name == "lambda_max" else 1.0
            assert low == pytest.approx([m - s if top > 1 else max(0.0, m - s) for m, s in zip(y, half, strict=True)])
            assert high == pytest.approx([min(top, m + s) for m, s in zip(y, half, strict=True)])
    assert (out / "study.png").stat().st_size > 10_000
    assert (out / "study-lambda.svg").exists()
    rows = table(html, "method", "data", "JS (bits)")
    assert [row[:2] for row in rows] == [[m, f"alpha = {a}"] for m in ("SGD", "SAM") for a in ("0.1", "100")]


def test_again_it_repeats_nothing_and_ends_the_same(done: tuple[Found, Path], tmp_path: Path) -> None:
    result, out = done
    again = tmp_path / "again"
    shutil.copytree(out, again)
    stamps = {path: path.stat().st_mtime_ns for path in again.glob("*/metrics.jsonl")}
    (again / "study.csv").unlink()
    assert study(settings({**SMALL, **MORE}, hessian=True), 2, Progress(quiet=True), out=again).points == result.points
    assert {path: path.stat().st_mtime_ns for path in again.glob("*/metrics.jsonl")} == stamps
    assert (again / "study.csv").read_text() == (out / "study.csv").read_text()


def test_another_axis_is_on_page_and_figure(tmp_path: Path) -> None:
    result = quiet(tmp_path / "out", 1, "emd")
    assert result.against == "emd"
    drawn = figures((tmp_path / "out" / "report.html").read_text())["study"]
    assert "EMD" in drawn["layout"]["xaxis"]["title"]["text"]
    x, _ = lines(drawn)["SGD"]
    assert x == sorted(point.measures["emd_mean"] for point in result.points if point.method == "SGD")


def test_feature_skew_is_drawn_against_its_strength(tmp_path: Path) -> None:
    keys = {"data.skew": "feature", "data.skew_rotation": "0,90", "data.partition": "iid"}
    changed = {name: value for name, value in SMALL.items() if name != "data.alpha"}
    runs = settings({**changed, **keys})
    assert len(runs) == 4
    result = study(runs, 1, Progress(quiet=True), out=tmp_path / "out")
    assert result.against == "data.skew_rotation"
    html = (tmp_path / "out" / "report.html").read_text()
    x, _ = lines(figures(html)["study"])["SAM"]
    assert x == [0.0, 90.0]
    written = json.loads((tmp_path / "out" / "sgd-skew-rotation90-seed0" / "partition.json").read_text())
    angles = written["skew"]["rotation"]
    (shown,) = [row[2] for row in table(html, "settings", "measure") if "90" in row[0] and "degrees" in row[1]]
    low, _, high = shown.partition(", ")[0].partition(" to ")
    assert [float(low), float(high)] == pytest.approx([min(angles), max(angles)], rel=1e-3)


def test_the_axis_goes_by_what_differs() -> None:
    assert default_against(["data.alpha"]) == "js"
    assert default_against(["data.partition", "data.sigma"]) == "js"
    assert default_against(["data.sigma"]) == "gini"
    assert default_against(["data.skew", "data.skew_noise"]) == "data.skew_noise"
    assert default_against(["data.alpha", "data.skew_noise"]) == "js"


def test_the_default_settings() -> None:
    runs = settings({})
    assert len(runs) == 15
    assert {run.keys()["data.alpha"] for run in runs.values()} == {0.05, 0.2, 1.0, 10.0, 100.0}
    assert {run.client.name for run in runs.values()} == {"sgd", "sam", "asam"}
    assert {run.geometry.every for run in runs.values()} == {0}
    assert {run.geometry.every for run in settings({"rounds": "7"}, hessian=True).values()} == {7}
    sizes = settings({"data.partition": "quantity", "data.sigma": "0,1,2", "client.name": "sgd"})
    assert list(sizes) == ["data.sigma=0", "data.sigma=1", "data.sigma=2"]
    assert len(settings({"data.sigma": "0,1", "client.name": "sgd"})) == 2  # another key differs, so alpha need not


@pytest.mark.parametrize(
    "keys", [{"data.alpha": "1"}, {"data.partition": "iid"}, {"data.label_noise": "0,0.4", "data.alpha": "1"}]
)
def test_where_nothing_differs_there_is_nothing_to_study(keys: dict[str, str]) -> None:
    with pytest.raises(InputError, match="nothing differs: give a key of the data several values"):
        settings(keys)


@pytest.mark.parametrize("against", ["jss", "data.partition", "client.lr", "data.local_test"])
def test_an_axis_that_is_none_is_refused_before_anything_runs(against: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"--against = {against}: must be one of js, emd, gini, classes, or a key"):
        quiet(tmp_path / "out", 1, against)
    assert not (tmp_path / "out").exists()


def test_what_others_gave_is_drawn_if_runs_fail(tmp_path: Path) -> None:
    changed = {"client.name": "sgd", "client.lr": "0.1,1e30"}
    with pytest.raises(RunError, match="2 of 4 runs failed"):
        quiet(tmp_path / "out", 1, **changed)
    rows = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [row["data"] for row in rows] == ["alpha = 0.1", "alpha = 100"]
    assert (tmp_path / "out" / "study.png").exists()


def test_methods_are_told_apart_by_what_differs_among_them(tmp_path: Path) -> None:
    for number, (client, rho) in enumerate([("sgd", None), ("sam", 0.1), ("sam", 0.3)]):
        for alpha in (0.1, 1.0):
            keys: dict[str, Any] = {"client.name": client, "data.alpha": alpha, "data.label_noise": 0.0}
            keys |= {} if rho is None else {"client.rho": rho, "client.base": "sgd"}
            write_run(tmp_path / f"{number}-{alpha}", keys, records(40, 0), partition=partition(seed=int(10 * alpha)))
    found, _ = group(load([tmp_path]))
    assert [p.method for p in points(found)] == ["SGD"] * 2 + ["SAM, ρ = 0.1"] * 2 + ["SAM, ρ = 0.3"] * 2
    assert heterogeneity(found) is not None
    alike = [setting for setting in found if setting.keys["data.alpha"] == 1.0]
    assert heterogeneity(alike) is None


def test_clients_before_and_after_are_on_the_page(done: tuple[Found, Path], tmp_path: Path) -> None:
    _, out = done
    run = out / "sam-alpha0.1-seed1"
    html = write_report([run], tmp_path / "r.html").read_text()
    record = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    drawn = figures(html)
    for id, name in {"adaptation-mean": "mean", "adaptation-worst-decile": "worst_decile"}.items():
        found = {label.rpartition(", ")[2]: values for label, values in lines(drawn[id]).items()}
        for half in ("before", "after"):
            assert found[half] == ([4], [record["local"][half][name]])
    ends = {label.rpartition(", ")[2]: values for label, values in lines(drawn["adaptation-end"]).items()}
    values = sorted(record["local"]["after"]["accuracy"])
    assert ends["after"][0] == [values[0], *values]
    assert ends["after"][1] == pytest.approx([k / 8 for k in range(9)])
    (before, after) = table(html, "setting", "mean (%)", "std (%)", "worst decile (%)")
    assert before[1] == f"{100 * record['local']['before']['mean']:.2f}"
    assert after[4:] == [str(record["local"]["after"]["below"]), "8"]
    assert "heterogeneity" not in anchors(html)


@pytest.mark.usefixtures("inside")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*(f"{name}={value}" for name, value in SMALL.items()), "--seeds", "1", "--out", "s", "-q"]
    ending("study", "heterogeneity", *arguments)
    assert "figures: s/study*.png" in capsys.readouterr().out
    ending("study", "heterogeneity", *arguments, "--json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["SGD", "SGD", "SAM", "SAM"]
