"""The report: its numbers are those of the run directories, what they lack is absent, names are only text."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Bars, Line, Map, Mark, Points, rich
from fedsam.reports.numbers import Reached, final, paired, reach
from fedsam.reports.page import _json
from fedsam.reports.read import Loaded, load
from fedsam.reports.settings import group
from fedsam.reports.write import write_report
from fedsam.runs.naming import directory_names
from tests.support.report_runs import (
    EVIL,
    anchors,
    everything,
    figures,
    geometry,
    lines,
    partition,
    records,
    table,
    tables,
    write_run,
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Loaded], str, Path]:
    root = tmp_path_factory.mktemp("full")
    out = write_report([everything(root / "runs")], root / "report.html")
    return load([root / "runs"]), out.read_text(), root


def test_curves_are_the_metrics(full: tuple[list[Loaded], str, Path]) -> None:
    runs, html, _ = full
    drawn = {
        "accuracy": "test_accuracy",
        "test-loss": "test_loss",
        "train-loss": "train_loss",
        "robust-accuracy": "robust_accuracy",
        "lr": "lr",
    }
    for id, key in drawn.items():
        found = lines(figures(html)[id])
        for setting, client in (("SGD, no average", "sgd"), ("SAM, SWA, ρ = 0.3", "sam")):
            own = [run for run in runs if run.keys["client.name"] == client]
            assert len(own) == 2
            of_seed = [[record[key] for record in run.metrics] for run in own]
            rounds = [record["round"] for record in own[0].metrics]
            for run, values in zip(own, of_seed, strict=True):
                assert found[f"{setting}, seed {run.seed}"] == (rounds, values)
            mean, std = np.mean(of_seed, axis=0), np.std(of_seed, axis=0, ddof=1)
            assert found[setting][0] == rounds
            np.testing.assert_allclose(found[setting][1], mean, rtol=1e-12)
            np.testing.assert_allclose(found[f"{setting}: mean − std"][1], mean - std, rtol=1e-12)
            np.testing.assert_allclose(found[f"{setting}: mean + std"][1], mean + std, rtol=1e-12)


def test_other_figures_are_their_files(full: tuple[list[Loaded], str, Path]) -> None:
    runs, html, _ = full
    found = figures(html)
    sam = {run.seed: run for run in runs if run.keys["client.name"] == "sam"}
    raw = [np.mean([run.metrics[at]["raw_test_accuracy"] for run in sam.values()]) for at in range(8)]
    np.testing.assert_allclose(lines(found["averaging"])["SAM, SWA, ρ = 0.3: raw"][1], raw, rtol=1e-12)
    assert "SGD, no average" not in lines(found["averaging"])
    megabytes, _ = lines(found["traffic"])["SAM, SWA, ρ = 0.3"]
    np.testing.assert_allclose(megabytes, 2.5 * np.arange(1, 9))
    training, evaluation = found["time"]["data"]
    np.testing.assert_allclose(training["x"], [1.64, 1.64])
    np.testing.assert_allclose(evaluation["x"], [0.08, 0.08])
    rounds, tops = lines(found["eigenvalues"])["SAM, SWA, ρ = 0.3, λ₂"]
    assert (rounds, tops) == ([10, 20, 30, 40], [12.0] * 4)
    assert lines(found["eigenvalues"])["SGD, no average"][1] == [10.5, 20.5, 30.5, 40.5]
    assert lines(found["rounds-trace"])["SGD, no average"][1] == [90.0] * 4

    about = sam[0].geometry
    assert about is not None
    assert lines(found["density"])["SAM, SWA, ρ = 0.3"][0] == about["global"]["density"]["grid"]
    (solid,) = found["surface-2"]["data"]
    np.testing.assert_allclose(np.power(10, solid["z"]), about["surface"]["loss"], rtol=1e-12)
    assert found["surface-1"]["data"][0]["z"] == geometry()["surface"]["loss"]
    assert found["contour-accuracy-2"]["data"][0]["z"] == about["surface"]["accuracy"]
    assert found["plane-loss-1"]["data"][1]["text"] == ["raw", "averaged"]
    assert lines(found["line-loss"])["SGD, no average"] == (about["line"]["t"], about["line"]["loss"])
    assert lines(found["to-loss"])["SGD, no average"] == (about["to"]["t"], about["to"]["loss"])
    assert lines(found["noise-accuracy"])["SGD, no average, relative"][1] == pytest.approx([0.89, 0.85, 0.8])
    assert lines(found["m-sharpness"])["SGD, no average, l2"] == ([0.05, 0.1, 0.2], pytest.approx([0.075, 0.15, 0.3]))

    counts = partition()["label_counts"]
    for label, trace in enumerate(found["labels"]["data"]):
        assert trace["y"] == [row[label] for row in counts]
    pooled = sorted(v for run in sam.values() for v in (run.local or {})["accuracy"] if v is not None)
    across, up = lines(found["clients"])["SAM, SWA, ρ = 0.3"]
    assert across[1:] == pooled
    assert up[-1] == 1.0
    worst, _ = lines(found["clients"])["SAM, SWA, ρ = 0.3: worst decile"]
    assert worst == [pytest.approx(np.mean(pooled[:3]))]


def test_every_section_and_part_is_there(full: tuple[list[Loaded], str, Path]) -> None:
    _, html, _ = full
    expected = ["settings", "results", "curves", "traffic", "local", "division", "curvature", "landscape"]
    expected += ["time", "environment"]
    assert anchors(html) == expected
    assert re.findall(r'<li><a href="#([^"]+)">', html) == expected
    for text in ("ValueError: broken client", "odd new measure", "0.125", "python", "3.11.7", "‖∇‖", "120 ± 3.5"):
        assert text in html, text
    spread = next(rows for rows in tables(html) if "spread" in rows[0])
    assert spread[1][spread[0].index("spread")] == "0.7"


def test_what_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    bare = write_run(tmp_path / "run", {}, records(40, 0))
    html = write_report([bare], tmp_path / "r.html").read_text()
    assert anchors(html) == ["settings", "results", "curves", "traffic", "time", "environment"]
    assert list(figures(html)) == ["accuracy", "test-loss", "train-loss", "traffic"]
    for word in ("difference", "raw model", "robust", "λ", "unfinished", "failed"):
        assert word not in html.partition("<body>")[2].partition("<script>/*")[0], word
    assert 'class="note"' not in html.replace('<noscript><p class="note">', "")

    nothing = [{"round": 40, "test_accuracy": 0.5}]
    silent = write_run(tmp_path / "silent", {}, nothing, geometry={"format": 1}, partition={}, clients={"accuracy": []})
    html = write_report([silent], tmp_path / "s.html").read_text()
    assert anchors(html) == ["settings", "results", "curves", "environment"]
    assert list(figures(html)) == ["accuracy"]


@pytest.mark.parametrize(
    "part", [k for k in geometry() if k not in ("format", "digest", "round", "images", "parameters")]
)
def test_any_part_of_the_geometry_may_be_missing(tmp_path: Path, part: str) -> None:
    rest = geometry()
    only = {"format": 1, part: rest.pop(part)}
    for name, held in (("without", rest), ("only", only)):
        run = write_run(tmp_path / name, {}, records(40, 0), geometry=held)
        html = write_report([run], tmp_path / f"{name}.html").read_text()
        assert ("curvature" in anchors(html)) or ("landscape" in anchors(html))


def test_names_are_only_text(tmp_path: Path) -> None:
    home = tmp_path / "<b>bold & $co$"
    odd = geometry() | {"noise": [{"kind": EVIL, "sigma": 1, "loss": 2}, {"kind": EVIL, "sigma": 2, "loss": 3}]}
    for number, seed in enumerate((0, 1, 0, 1)):
        own = {"data.name": EVIL, "seed": seed, "client.rho": 0.1 * (number // 2)}
        write_run(home / f"{number}-seed{seed}", own, records(40, seed), geometry=odd)
    (home / "compare.json").write_text(json.dumps([{"setting": "2"}, {"setting": "0"}, {"setting": EVIL}]))
    write_run(home / f"{directory_names([EVIL])[EVIL]}-seed0", {"client.rho": 0.5}, records(40, 0))
    html = write_report([home], tmp_path / "r.html").read_text()
    assert [run.setting for run in load([home])].count(EVIL) == 1
    body, _, after = html.partition("<script>/*")
    assert "<img" not in body
    assert "<b>" not in body
    assert body.count("</script>") == len(figures(html))
    assert after.count("onerror=alert") == 0
    assert "&lt;b&gt;bold &amp; $co$" in body
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; $x^2$ &lt;/script&gt;" in body
    names = {trace["name"] for trace in figures(html)["accuracy"]["data"]}
    assert any("&lt;img" in name for name in names)
    assert not any("<img" in name for name in names)
    assert rich("a" * 30 + " " + "<b>" + "c" * 30) == "a" * 30 + "<br>&lt;b&gt;" + "c" * 30
    assert "<" not in _json({"text": EVIL})
    assert json.loads(_json({"text": EVIL})) == {"text": EVIL}
    for place, name in enumerate((EVIL, r"$\nonsense{$")):
        line = Line([0, 1], [1, 2], f"{name} {place}", "#000000")
        Figure(f"f{place}", name, name, Axis(name), Axis(name), [line, line]).save(tmp_path)


def test_nothing_is_loaded(full: tuple[list[Loaded], str, Path]) -> None:
    _, html, _ = full
    from plotly.offline import get_plotlyjs

    library = get_plotlyjs()
    assert html.count(library) == 1
    rest = html.replace(library, "")
    assert "http:" not in rest.lower()
    assert "https:" not in rest.lower()
    assert not re.search(
        r"<(link|img|iframe|object|embed|base)\b|\bsrc\s*=|@import|url\(|\bfetch\(|XMLHttp", rest, re.I
    )
    assert "connect-src" not in rest, "default-src 'none' covers it; another value would widen it"
    assert "content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';" in rest
    assert len(html) < 6_000_000


def test_figures_are_what_plotly_knows(full: tuple[list[Loaded], str, Path]) -> None:
    _, html, _ = full
    import plotly.graph_objects as go

    found = figures(html)
    assert len(found) > 25
    for id, figure in found.items():
        go.Figure(figure)  # an unknown property raises
        assert "bdata" not in json.dumps(figure)
        assert f'id="figure-{id}" class="figure" data-source="data-{id}" role="img"' in html
        (label,) = re.findall(rf'<div id="figure-{id}"[^>]*?aria-label="([^"]+)"', html)
        assert "Axes: " in label
        layout = figure["layout"]
        axes = [layout["xaxis"], layout["yaxis"]] if "scene" not in layout else list(layout["scene"].values())[:3]
        assert all(axis["title"]["text"] or axis.get("type") == "category" for axis in axes), id
    assert html.count("<figcaption>") == len(found)


def test_figures_for_a_paper(tmp_path: Path) -> None:
    from matplotlib.image import imread

    held = {name: part for name, part in geometry().items() if name not in ("noise", "sharpness", "line", "to")}
    del held["plane"]["accuracy"]
    run = write_run(tmp_path / "run", {}, records(40, 0), geometry=held, partition=partition())
    html = write_report([run], tmp_path / "r.html", figures=tmp_path / "figures").read_text()
    ids = figures(html)
    assert {"labels", "surface", "plane-loss", "density", "flatness"} < set(ids)
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == set(ids)
    captions = (tmp_path / "figures" / "captions.md").read_text()
    for id in ids:
        image = imread(tmp_path / "figures" / f"{id}.png")
        assert image.shape[0] > 500
        assert image.std() > 0.01, f"{id} is blank"
        svg = (tmp_path / "figures" / f"{id}.svg").read_text()
        assert svg.count("<path") > 10
        assert f"**{id}** " in captions
    assert not list(tmp_path.rglob(".*"))


def test_settings_are_runs_that_differ_in_their_seed(tmp_path: Path) -> None:
    for number, (seed, rho) in enumerate([(0, 0.1), (1, 0.1), (0, 0.2), (1, 0.1)]):
        write_run(tmp_path / f"r{number}", {"seed": seed, "client.name": "sam", "client.rho": rho}, records(40, seed))
    settings, twice = group(load([tmp_path]))
    assert [(s.name, list(s.runs)) for s in settings] == [("ρ = 0.1", [0, 1]), ("ρ = 0.2", [0])]
    assert settings[0].colour != settings[1].colour
    assert len(twice) == 1
    assert "r3" in twice[0]
    (alone,), _ = group(load([tmp_path / "r0"]))
    assert alone.name == "SAM, FedAvg, no average"
    two = (
        {"client.name": "sgd", "client.lr": 0.1, "server.lr": 1.0},
        {"client.name": "sgd", "client.lr": 0.2, "server.lr": 2.0},
    )
    for number, own in enumerate(two):
        write_run(tmp_path / "more" / str(number), own, records(40, 0))
    assert [s.name for s in group(load([tmp_path / "more"]))[0]] == [
        "client.lr = 0.1, server.lr = 1",
        "client.lr = 0.2, server.lr = 2",
    ]


def test_differing_settings_come_first_and_the_others_are_folded(full: tuple[list[Loaded], str, Path]) -> None:
    _, html, _ = full
    rows = table(html, "setting", "client.name", "average.name", "client.rho")
    assert rows == [["SGD, no average", "sgd", "none", "–"], ["SAM, SWA, ρ = 0.3", "sam", "swa", "0.3"]]
    assert html.index("client.rho</th>") < html.index("<details>")
    shared = dict(tables(html)[1][1:])  # type: ignore[arg-type]
    assert shared["client.lr"] == "0.1"
    assert not {"client.name", "client.rho", "seed", "out"} & set(shared)


def test_final_accuracies_and_paired_differences(full: tuple[list[Loaded], str, Path]) -> None:
    runs, html, _ = full
    rows = {row[0]: row for row in table(html, "setting", "seeds", "accuracy (%)")}
    by = {name: [r for r in runs if r.keys["client.name"] == name] for name in ("sgd", "sam")}
    last = {
        name: [100 * np.mean([m["test_accuracy"] for m in r.metrics[-4:]]) for r in own] for name, own in by.items()
    }
    for name, shown in (("sgd", "SGD, no average"), ("sam", "SAM, SWA, ρ = 0.3")):
        assert rows[shown][2] == f"{np.mean(last[name]):.2f} ± {np.std(last[name], ddof=1):.2f}"
    differences = np.subtract(last["sam"], last["sgd"])
    half = scipy.stats.t.ppf(0.975, 1) * np.std(differences, ddof=1) / math.sqrt(2)
    assert rows["SAM, SWA, ρ = 0.3"][-1] == f"{np.mean(differences):+.2f} ± {half:.2f}"
    assert rows["SGD, no average"][-1] == "reference"
    assert rows["SAM, SWA, ρ = 0.3"][3] == f"{np.mean(last['sam']) - 1:.2f} ± {np.std(last['sam'], ddof=1):.2f}"
    assert rows["SAM, SWA, ρ = 0.3"][4].startswith("+1.00 ± 0.00")
    assert rows["SGD, no average"][3:5] == ["–", "–"]


def test_paired_interval_is_students() -> None:
    ours, theirs = {0: 1.0, 1: 3.0, 2: 2.5, 7: 9.0}, {2: 1.0, 0: 0.5, 1: 1.0, 8: 4.0}
    d = [0.5, 2.0, 1.5]
    found = paired(ours, theirs)
    assert found is not None
    low, high = scipy.stats.t.interval(0.95, 2, loc=np.mean(d), scale=scipy.stats.sem(d))
    assert (found.mean - (found.half or 0), found.mean + (found.half or 0)) == (pytest.approx(low), pytest.approx(high))
    assert found.seeds == 3
    one = paired({0: 1.0}, {0: 0.25, 1: 3.0})
    assert (one.mean, one.half) == (0.75, None) if one else False
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_targets(tmp_path: Path) -> None:
    def run(name: str, seed: int, rho: float, values: list[float]) -> None:
        metrics = [
            {"round": 10 * n, "test_accuracy": v, "bytes_up": 1_000_000 * n, "bytes_down": 0}
            for n, v in enumerate(values, 1)
        ]
        write_run(tmp_path / name, {"client.rho": rho, "seed": seed, "rounds": 30}, metrics)

    run("a0", 0, 0.0, [0.5, 0.8, 0.8])
    run("a1", 1, 0.0, [0.72, 0.6, 0.8])
    run("b0", 0, 0.1, [0.2, 0.3, 0.71])
    run("b1", 1, 0.1, [0.2, 0.3, 0.4])
    html = write_report([tmp_path], tmp_path / "r.html").read_text()
    rows = table(html, "target", "setting", "rounds", "MB")
    final_mean = (0.8 + 0.7) / 2
    assert [row[0] for row in rows if row[0]] == [
        f"{100 * share * final_mean:.2f} % ({share:.0%})" for share in (0.9, 0.95, 1)
    ]
    assert [row[1:] for row in rows[:2]] == [
        ["ρ = 0", "15 (10–20)", "2 (1–3)", "2 of 2"],
        ["ρ = 0.1", "30", "6", "1 of 2"],
    ]
    assert [row[1:] for row in rows[4:]] == [
        ["ρ = 0", "25 (20–30)", "4.5 (3–6)", "2 of 2"],
        ["ρ = 0.1", "not reached", "not reached", "0 of 2"],
    ]
    first = load([tmp_path / "a0"])[0]
    assert reach(first, 0.5) == Reached(10, 1_000_000)
    assert reach(first, 0.81) is None
    assert final(first) == pytest.approx(0.8)


def test_an_unfinished_run_is_said_to_be_one(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"seed": 0}, records(40, 0))
    write_run(tmp_path / "b", {"seed": 1}, records(25, 1))
    html = write_report([tmp_path], tmp_path / "r.html").read_text()
    assert "seed 1: unfinished, 25 of 40 rounds are recorded" in html
    assert "seed 0: unfinished" not in html
    found = lines(figures(html)["accuracy"])
    assert found["SGD, FedAvg, no average"][0] == [5, 10, 15, 20, 25]
    assert found["SGD, FedAvg, no average, seed 0"][0][-1] == 40
    assert "over the rounds that every seed has recorded" in html
    rows = table(html, "setting", "seed", "last 20 rounds (%)")
    late = [record["test_accuracy"] for record in records(25, 1)[-4:]]
    assert rows[1][2] == f"{100 * np.mean(late):.2f}"


def test_many_clients_are_a_map(tmp_path: Path) -> None:
    about = partition(clients=230, classes=40)
    run = write_run(tmp_path / "run", {}, records(40, 0), partition=about)
    html = write_report([run], tmp_path / "r.html", figures=tmp_path / "f").read_text()
    (cells,) = figures(html)["labels"]["data"]
    assert (len(cells["z"]), len(cells["z"][0])) == (40, 200)
    shares = np.array(cells["z"])
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert (np.diff(shares.argmax(axis=0)) >= 0).all()
    assert "The first 200 of 230 clients are shown" in html
    assert lines(figures(html)["sizes"])["examples"][1] == sorted(about["examples"], reverse=True)


def test_what_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    metrics = records(40, 0)
    metrics[3] |= {"test_loss": math.nan, "train_loss": None}
    box = {"x": [0, 1], "y": [0, 1], "loss": [[1, math.inf], [2, 3]]}
    held = {"surface": box, "line": {"t": [0, 1], "loss": [1, math.nan]}}
    run = write_run(tmp_path / "run", {}, metrics, geometry=held)
    found = figures(write_report([run], tmp_path / "r.html").read_text())
    assert 20 not in lines(found["test-loss"])["SGD, FedAvg, no average"][0]
    assert len(found["train-loss"]["data"][0]["x"]) == 7
    assert found["surface"]["data"][0]["z"] == [[1, None], [2, 3]]
    assert found["line-loss"]["data"][0]["y"] == [1, None]
    marks = [Map([0, 1], [0, 1], [[1, None], [2, 3]], "loss", "contour"), Line([0, 1, 2], [1, None, 2], "l", "#000000")]
    assert len(Figure("gaps", "", "", Axis("x"), Axis("y"), marks).save(tmp_path)) == 3


def test_a_figure_with_nothing_to_be_seen_is_left_out() -> None:
    def telling(*marks: Mark) -> bool:
        return Figure("f", "", "", Axis("x"), Axis("y"), marks).tells()

    bar, other = Bars(["a"], [1.0], "one", "#000000"), Bars(["b"], [1.0], "two", "#000000")
    assert not telling(bar)
    assert not telling(bar, bar)
    assert telling(bar, other)
    assert not telling(Points([7, 7], [1, 2], "p", "#000000"))
    assert telling(Points([7, 8], [1, 2], "p", "#000000"))
    assert telling(Line([7], [1], "l", "#000000"))
