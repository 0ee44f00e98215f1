"""Measures of heterogeneity against slow formulas and limits, and the figure of label distributions."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fedsam.data.heterogeneity import classes_per_client, describe, earth_movers_distance, gini, js_divergence
from fedsam.reports.label_figure import MUTED, draw
from fedsam.rng import stream

tables = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 50))


def slow_js(counts: list[list[int]]) -> list[float]:
    whole = [sum(column) for column in zip(*counts, strict=True)]
    found = []
    for client in counts:
        total = 0.0
        for n, w in zip(client, whole, strict=True):
            p, q = (n / sum(client), w / sum(whole)) if sum(client) else (0.0, 0.0)
            total += sum(x * math.log2(2 * x / (p + q)) for x in (p, q) if x) / 2
        found.append(total)
    return found


@settings(deadline=None, max_examples=80, derandomize=True)
@given(tables)
def test_divergence_is_its_definition(counts: np.ndarray) -> None:
    found = js_divergence(counts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, slow_js(counts.tolist()), atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(js_divergence(3 * counts[:, ::-1]), found, atol=1e-12)


def test_divergence_at_its_limits() -> None:
    assert js_divergence(np.array([[2, 4], [3, 6], [100, 200]])).tolist() == [0.0, 0.0, 0.0]
    assert js_divergence(np.diag([1, 1])) == pytest.approx([1.5 - 0.75 * math.log2(3)] * 2, abs=1e-15)
    lonely = np.zeros((2, 2), dtype=np.int64)
    lonely[0, 0], lonely[1, 1] = 1, 10**9
    assert js_divergence(lonely) == pytest.approx([1.0, 0.0], abs=1e-7)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 10**6)))
def test_gini_is_its_definition(sizes: np.ndarray) -> None:
    total = sum(sizes.tolist())
    pairs = sum(abs(a - b) for a in sizes.tolist() for b in sizes.tolist())
    expected = pairs / (2 * len(sizes) * total) if total else 0.0
    assert gini(sizes) == pytest.approx(expected, abs=1e-12)
    assert gini(7 * sizes[::-1]) == pytest.approx(expected, abs=1e-12)


def test_gini_at_its_limits() -> None:
    assert gini(np.full(37, 113)) == 0.0
    assert gini(np.array([0, 0, 9, 0])) == 0.75


def test_classes_per_client() -> None:
    assert classes_per_client(np.array([[0, 0, 0], [1, 0, 7], [1, 1, 1]])).tolist() == [0, 2, 3]


def test_description_is_plain_json_and_leaves_out_the_empty() -> None:
    counts = np.array([[8, 0], [0, 0], [1, 7]])
    described = describe(counts)
    measures = ["js_mean", "js_std", "emd_mean", "emd_std", "classes_mean", "gini"]
    assert list(described) == ["clients", "sizes", "classes_per_client", *measures]
    assert described["clients"] == 3
    assert described["sizes"] == [8, 0, 8]
    assert described["classes_per_client"] == [1, 0, 2]
    present = slow_js(counts[[0, 2]].tolist())
    assert described["js_mean"] == pytest.approx(np.mean(present))
    assert described["js_std"] == pytest.approx(abs(present[0] - present[1]) / 2)
    assert described["gini"] == pytest.approx(1 / 3)
    # the whole is (9, 7) / 16; clients (1, 0) and (1/8, 7/8)
    assert described["emd_mean"] == pytest.approx(7 / 8)
    assert described["emd_std"] == pytest.approx(0.0)
    assert described["classes_mean"] == 1.5
    assert json.loads(json.dumps(described)) == described
    nothing = describe(np.zeros((2, 3), dtype=np.int64))
    assert {nothing[name] for name in measures} == {0.0}


def test_every_measure_on_three_clients_by_hand() -> None:
    """Class 0 alone, classes 0 and 1 alike, one of each class; together they are 6, 3 and 1."""
    described = describe(np.array([[3, 0, 0], [2, 2, 0], [1, 1, 1]]))
    whole = [0.6, 0.3, 0.1]
    parts = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]
    distances = [0.4 + 0.3 + 0.1, 0.1 + 0.2 + 0.1, 0.6 - 1 / 3 + 1 / 3 - 0.3 + 1 / 3 - 0.1]
    divergences = []
    for part in parts:
        middle = [(p + q) / 2 for p, q in zip(part, whole, strict=True)]
        both = [sum(x * math.log2(x / m) for x, m in zip(one, middle, strict=True) if x) for one in (part, whole)]
        divergences.append(sum(both) / 2)
    assert described["js_mean"] == pytest.approx(sum(divergences) / 3)
    assert described["js_std"] == pytest.approx(np.std(divergences))
    assert described["emd_mean"] == pytest.approx(sum(distances) / 3)
    assert described["emd_std"] == pytest.approx(np.std(distances))
    assert described["classes_per_client"] == [1, 2, 3]
    assert described["classes_mean"] == 2.0
    assert described["gini"] == pytest.approx((1 + 0 + 1) * 2 / (2 * 3 * 10))  # |3-4|, |3-3|, |4-3|, each twice


def test_distance_at_its_limits() -> None:
    assert earth_movers_distance(np.array([[2, 4], [3, 6], [100, 200]])).tolist() == [0.0, 0.0, 0.0]
    lonely = np.zeros((2, 2), dtype=np.int64)
    lonely[0, 0], lonely[1, 1] = 1, 10**9
    assert earth_movers_distance(lonely) == pytest.approx([2.0, 0.0], abs=1e-7)
    assert earth_movers_distance(np.array([[0, 0], [1, 3]])).tolist() == [0.0, 0.0]


# the figure


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return (imread(path)[:, :, :3] * 255).round().astype(np.int64)


def area(image: np.ndarray, colour: str) -> int:
    """Pixels of the colour left of the legend."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image[:, :1395] - rgb).max(axis=2) <= 2).sum())


def test_bars_have_the_area_of_their_counts(tmp_path: Path) -> None:
    counts = np.array([[30, 10, 0], [0, 25, 15], [10, 0, 0]])
    draw(counts, tmp_path / "labels.png", "three clients")
    image = pixels(tmp_path / "labels.png")
    found = np.array([area(image, colour) for colour in MUTED[:3]])
    assert found / found.sum() == pytest.approx(counts.sum(axis=0) / counts.sum(), abs=0.01)
    assert [area(image, colour) for colour in MUTED[3:-1]] == [0] * 6  # the last, a grey, is in the text


def test_heat_map_orders_clients_by_their_largest_class(tmp_path: Path) -> None:
    counts = np.zeros((90, 3), dtype=np.int64)
    counts[np.arange(90), np.arange(90) % 3] = 5
    draw(counts, tmp_path / "labels.png", "ninety clients")
    image = pixels(tmp_path / "labels.png")
    dark = (np.abs(image - [8, 48, 107]).max(axis=2) <= 3)[:, :1320]  # 100 % in the colour map
    rows, columns = np.nonzero(dark)
    thirds = np.array_split(np.arange(columns.min(), columns.max() + 1), 3)
    heights = [rows[np.isin(columns, third[5:-5])] for third in thirds]
    assert all(np.ptp(h) < 0.4 * np.ptp(rows) for h in heights)  # one class in each third
    assert heights[0].mean() > heights[1].mean() > heights[2].mean()  # class 0 at the bottom


@pytest.mark.parametrize(("clients", "classes"), [(1, 1), (5, 2), (50, 17), (12, 100), (60, 21), (61, 100), (1000, 10)])
def test_figures_of_every_size(clients: int, classes: int, tmp_path: Path) -> None:
    counts = stream(0, "counts").integers(4, size=(clients, classes))
    counts[0] = 0  # a client without examples
    path = tmp_path / "labels.png"
    draw(counts, path, "a title")
    assert pixels(path).shape == (750, 1500, 3)


def test_figure_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, numpy as np\n"
        "from fedsam.reports.label_figure import draw\n"
        "assert 'matplotlib' not in sys.modules\n"
        "draw(np.ones((3, 4), dtype=int), pathlib.Path('labels.png'), 't')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": root, "HOME": str(tmp_path)}, check=True
    )
