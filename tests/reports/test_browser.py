"""The report in a real browser: every figure is drawn, the console stays silent, nothing leaves the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fedsam.reports.write import write_report
from tests.support.report_runs import EVIL, everything, figures, records, write_run

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
HARMLESS = re.compile(r"willReadFrequently")  # advice to plotly's authors

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")


def opened(page: Path, *options: str) -> tuple[str, list[str]]:
    """The page as it stands after its scripts, without the library, and what its console said."""
    assert BROWSER
    flags = ["--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags += ["--disable-background-networking", "--virtual-time-budget=30000", "--enable-logging=stderr", "--dump-dom"]
    flags += [f"--user-data-dir={page.parent / 'profile'}", *options]
    done = subprocess.run([BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line and not HARMLESS.search(line)]
    before, _, after = done.stdout.partition("<script>/*")
    return before + after[after.rindex("</script>") :], said


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    runs = everything(tmp_path / "runs")
    (runs / "0-sgd-0" / "geometry.json").unlink()  # one of each figure is enough
    html = write_report([runs], tmp_path / "r.html").read_text()
    assert {"surface", "contour-loss", "plane-accuracy", "labels", "clients", "time"} < set(figures(html))
    dom, said = opened(tmp_path / "r.html")
    assert said == []
    assert 'data-drawn="yes"' in dom
    parts = re.split(r'<div id="figure-', dom)[1:]
    assert [part.partition('"')[0] for part in parts] == list(figures(html))
    for part in parts:
        id = part.partition('"')[0]
        drawn = part.partition("<figcaption>")[0]
        assert 'class="main-svg"' in drawn, id
        if "surface" in figures(html)[id]["data"][0]["type"]:
            assert "<canvas" in drawn, id
        else:
            assert re.search(r'<g class="(scatterlayer|barlayer|contour|heatmap)', drawn), id
        assert "failed" not in drawn.partition(">")[0], id
        assert "WebGL is not supported" not in drawn, id
    assert "Share chart" not in dom  # plotly's button that sends the figure away
    assert "Download plot" in dom


def test_dark_pages_have_their_own_colours_and_names_stay_text(tmp_path: Path) -> None:
    for seed, name in ((0, EVIL), (0, "<b>&lt;i")):
        write_run(tmp_path / "runs" / f"{len(name)}", {"data.name": name, "seed": seed}, records(40, seed))
    write_report([tmp_path / "runs"], tmp_path / "r.html")
    dom, said = opened(tmp_path / "r.html", "--blink-settings=preferredColorScheme=0")
    assert said == []
    body = dom.partition("<body")[2]
    assert "rgb(74, 159, 224)" in body
    assert "rgb(0, 114, 178)" not in body
    assert "<img" not in body
    legend = set(re.findall(r'class="legendtext"[^>]*>(.*?)</text>', body))
    assert any("&lt;img src=x onerror=alert(1)&gt;" in text for text in legend), legend
    assert "&lt;b&gt;&amp;lt;i" in legend
