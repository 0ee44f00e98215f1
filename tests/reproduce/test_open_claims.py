"""What goes wrong in a reproduction leaves one claim open, or one figure out, and says why; how long it took; what the
report shows first.
"""

from __future__ import annotations

import csv
import html
import json
import math
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedsam import Run, RunError
from fedsam.reproduce import clock
from fedsam.reproduce.carry_out import Outcome
from fedsam.reproduce.claim import Answer, Claim
from fedsam.reproduce.clock import Wall, timed, wall
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.results import Results
from tests.support.commands import call
from tests.support.papers import TINY, reproduced

Value = Callable[[Results, int], float]


def raising(error: Exception) -> Value:
    def value(results: Results, seed: int) -> float:
        if seed == 1:
            raise error
        return results.last("plain", seed, "test_loss")

    return value


BROKEN: dict[str, Value] = {
    "eigenvalues": raising(RunError("no eigenvalues of the Hessian were found\n(too few steps)")),
    "logarithm": lambda r, s: math.log(0 * r.last("plain", s, "test_loss")),
    "division": lambda r, s: r.last("plain", s, "test_loss") / 0,
    "too large": lambda r, s: math.exp(1e6 + s),
}
REASONS = {
    "eigenvalues": "seed 1: no eigenvalues of the Hessian were found (too few steps)",
    "logarithm": "seed 0: math domain error",
    "division": "seed 0: float division by zero",
    "too large": "seed 0: math range error",
}


def paper(values: dict[str, Value], more: dict[str, Run] | None = None, what: str = "claims and figures") -> Any:
    def claims(preset: str) -> list[Claim]:
        whole: Value = lambda r, s: r.last("plain", s, "test_loss")  # noqa: E731
        each = {"first": whole, **(values if "claims" in what else {}), "last": whole}
        return [Claim(name, "Table 1", "test loss", value, "below", 100.0) for name, value in each.items()]

    def figures(preset: str) -> dict[str, Callable[[Results], list[Panel]]]:
        def of(value: Value) -> Callable[[Results], list[Panel]]:
            return lambda r: [Panel("x", "y", {"runs": ([0.0], [[value(r, seed)] for seed in r.seeds])})]

        return {"whole": lambda r: [Panel("round", "loss", {"plain": r.curve("plain", "test_loss")})]} | {
            f"of {name}": of(value) for name, value in values.items() if "figures" in what
        }

    def runs(preset: str) -> dict[str, Run]:
        return {"plain": Run.from_keys(TINY), **(more or {})}

    return SimpleNamespace(TITLE="t", SEEDS={"cpu": 2}, runs=runs, claims=claims, figures=figures)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return reproduced(tmp_path_factory.mktemp("open"), paper(BROKEN))


def test_what_cannot_be_measured_leaves_its_claim_open(broken: Outcome) -> None:
    assert [answer.claim.text for answer in broken.answers] == ["first", "last"]
    assert {found.claim.text: found.why for found in broken.open} == REASONS
    rows = json.loads((broken.out / "claims.json").read_text())["claims"]
    assert [row["claim"] for row in rows] == ["first", *BROKEN, "last"]
    assert [row["holds"] for row in rows] == ["yes", *["undecided"] * 4, "yes"]
    assert [row["reason"] for row in rows] == ["", *REASONS.values(), ""]
    table = (broken.out / "claims.md").read_text()
    assert all(f'- No answer to "{name}": {why}.\n' in table for name, why in REASONS.items())
    by_claim = {row["claim"]: row for row in csv.DictReader((broken.out / "claims.csv").read_text().splitlines())}
    assert by_claim["division"]["reason"] == REASONS["division"]
    assert by_claim["first"]["reason"] == ""


def test_what_cannot_be_drawn_is_named(broken: Outcome) -> None:
    found = json.loads((broken.out / "claims.json").read_text())["figures_left_out"]
    assert list(found) == [f"of {name}" for name in BROKEN]
    assert found["of division"] == "float division by zero"
    assert sorted(file.name for file in (broken.out / "figures").glob("*.png")) == ["whole.png"]
    assert "- Figure of division is left out: float division by zero.\n" in (broken.out / "claims.md").read_text()


@pytest.mark.parametrize("what", ["claims", "figures"])
@pytest.mark.parametrize("error", [KeyError("robust_accuracy"), TypeError("a mistake"), AssertionError(), IndexError()])
def test_mistakes_surface(broken: Outcome, error: Exception, what: str) -> None:
    with pytest.raises(type(error)):
        reproduced(broken.out, paper({"mistaken": raising(error)}, what=what))


def test_absent_data_fail_their_runs_alone(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split = {"data.partition": "file", "data.split_file": "nowhere.npz"}
    keys = {key: value for key, value in TINY.items() if key != "data.samples_per_client"}
    absent = paper({"split": lambda r, s: r.last("absent", s, "test_loss")}, {"absent": Run.from_keys(keys | split)})
    monkeypatch.setattr("fedsam.reproduce.base.paper", lambda bibkey: absent)
    with pytest.raises(SystemExit) as caught:
        call("reproduce", "tiny2000", "--quiet", "--json")
    assert caught.value.code == 1
    told = capsys.readouterr()
    assert "2 runs failed: absent, seed 0: data.split_file = nowhere.npz" in told.err
    assert [row["holds"] for row in json.loads(told.out)] == ["yes", "not run", "yes"]
    written = json.loads((inside / "results" / "tiny2000" / "cpu" / "claims.json").read_text())
    assert [line.partition(":")[0] for line in written["failed_runs"]] == ["absent, seed 0", "absent, seed 1"]


# time


def test_wall_time_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    assert wall(tmp_path) == Wall(0.0, 0)
    with timed(tmp_path, starts=1):
        now[0] += 5
    now[0] += 1000  # between two starts

    @timed(tmp_path, starts=1)
    def stopped() -> None:
        now[0] += 7
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with timed(tmp_path):
        now[0] += 2
    assert wall(tmp_path) == Wall(14.0, 2)
    (tmp_path / clock.FILE).write_text("{")
    assert wall(tmp_path) == Wall(0.0, 0)


def test_wall_time_is_of_training_measuring_and_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])

    def slow(minutes: float) -> Value:
        def value(results: Results, seed: int) -> float:
            now[0] += 60 * minutes
            return 0.0

        return value

    again = paper({"slow": slow(1.5)})
    reproduced(tmp_path, again)
    found = json.loads((tmp_path / "claims.json").read_text())
    assert (found["wall_seconds"], found["starts"]) == (60 * 1.5 * 2 * 2, 1)  # a claim and a figure, of two seeds
    assert 0 < found["training_seconds"] < 60
    assert "wall time, with measuring: 6.0 minutes; " in (tmp_path / "claims.md").read_text()
    reproduced(tmp_path, again)
    assert "wall time, with measuring: 12.0 minutes in 2 starts; " in (tmp_path / "claims.md").read_text()


# resolution


@pytest.mark.parametrize(
    ("values", "step", "verdict"),
    [
        ([2 / 397] * 3, 0.0, "undecided"),
        ([2 / 397, 2 / 397 + 1e-16, 2 / 397], 0.0, "undecided"),
        ([2 / 397, 2 / 397 + 1e-6, 2 / 397], 0.0, "no"),
        ([-0.3, -0.3], 0.0, "undecided"),
        ([2 / 397] * 3, 1 / 397, "undecided"),
        ([3 / 397] * 3, 1 / 397, "no"),
        ([-2 / 397] * 3, 1 / 397, "undecided"),
        ([-3 / 397] * 3, 1 / 397, "yes"),
        ([-2 / 10_000] * 3, 1 / 10_000, "undecided"),
        ([-0.3, -0.1, -0.2], 1 / 397, "undecided"),
        ([-0.3, -0.1, -0.2, -0.2], 1 / 397, "yes"),
    ],
)
def test_seeds_that_agree_by_chance_do_not_decide(values: list[float], step: float, verdict: str) -> None:
    claim = Claim("c", "p", "m", lambda r, s: 0.0, "below", step=step)
    assert Answer(claim, dict(enumerate(values))).holds == verdict


def test_zeros_in_all_seeds_decide() -> None:
    claim = Claim("no barrier", "p", "m", lambda r, s: 0.0, "below", 0.01)
    assert Answer(claim, dict.fromkeys(range(3), 0.0)).holds == "yes"
    assert Answer(claim, dict.fromkeys(range(3), 0.005)).holds == "undecided"


def test_an_interval_is_not_narrower_than_the_resolution() -> None:
    def reach(values: list[float], step: float) -> float:
        found = Answer(Claim("c", "p", "m", lambda r, s: 0.0, "below", step=step), dict(enumerate(values))).reach
        assert found is not None
        return found

    assert reach([0.5, 0.5, 0.5], 0.01) == pytest.approx(4.302653 * 0.01 / math.sqrt(3))
    assert reach([0.49, 0.5, 0.51], 0.01) == pytest.approx(4.302653 * 0.01 / math.sqrt(3))
    assert reach([0.3, 0.5, 0.7], 0.01) == reach([0.3, 0.5, 0.7], 0.0) == pytest.approx(4.302653 * 0.2 / math.sqrt(3))


# the report


def test_the_report_begins_with_the_claims_and_the_figures(broken: Outcome) -> None:
    page = (broken.out / "report.html").read_text()
    sections = re.findall(r'<section id="(\w+)">', page)
    assert sections[:3] == ["claims", "paper", "settings"]
    claims, drawn = (html.unescape(part) for part in re.split(r'<section id="\w+">', page)[1:3])
    header = re.findall(r"<th scope[^>]*>(.*?)</th>", claims)
    assert header == ["claim", "published", "measured", "ours", "seeds", "holds"]
    first = re.findall(r"<td[^>]*>(.*?)</td>", claims)[: len(header)]
    assert first[:3] == ["first", "not available (Table 1)", "test loss; below 100"]
    assert first[4:] == ["0, 1", "yes"]
    assert all(f"No answer to “{name}”: {why}." in claims for name, why in REASONS.items())
    pictures = re.findall(r'<img alt="(.*?)" src="data:image/png;base64,(.*?)">', drawn)
    assert [name for name, _ in pictures] == ["whole"]
    assert b64decode(pictures[0][1]) == (broken.out / "figures" / "whole.png").read_bytes()
