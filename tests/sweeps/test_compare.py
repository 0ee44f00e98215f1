"""Several settings from one description, and their comparison over the same seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from fedsam import InputError, Run
from fedsam.sweeps.compare import Comparison
from fedsam.sweeps.grid import is_grid, settings, split
from tests.support.commands import ending


def test_values_are_split_at_commas_outside_brackets() -> None:
    assert split("sgd,sam, asam") == ["sgd", "sam", "asam"]
    assert split("[1,2],(3,4)") == ["[1,2]", "(3,4)"]
    assert is_grid({"client.name": "sgd,sam"})
    assert is_grid({"client.lr": [0.1, 0.2]})
    assert not is_grid({"client.name": "sgd", "rounds": "10"})


def test_every_combination_is_a_setting_named_by_what_differs() -> None:
    found = settings({"client.name": "sgd,sam", "average.name": "none,swa", "rounds": "40", "data.alpha": [0.1]})
    assert list(found) == [
        f"client.name={client} average.name={average}" for client in ("sgd", "sam") for average in ("none", "swa")
    ]
    assert found["client.name=sam average.name=swa"] == Run.from_keys(
        {"client.name": "sam", "average.name": "swa", "rounds": 40, "data.alpha": 0.1}
    )


def test_a_key_that_a_setting_lacks_is_left_out_of_it() -> None:
    found = settings({"client.name": "sgd,sam", "client.rho": "0.1,0.3"})
    assert list(found) == ["client.name=sgd", "client.name=sam client.rho=0.1", "client.name=sam client.rho=0.3"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"client.name": "sgd,sam", "client.rhoo": "1"}, "client.rhoo = 1: no such key here"),
        ({"client.name": "sgd,adamw", "client.rho": "0.1"}, "client.rho = 0.1: no such key here"),
        ({"client.name": "sgd,samm"}, "client.name = samm: no such client optimiser; did you mean 'sam'?"),
        ({"client.lr": "0.1,"}, "client.lr = 0.1,: one of its values is empty"),
        ({"client.lr": "0.1,x"}, "client.lr = x: must be a number"),
        ({"cohort": "5,500"}, "cohort = 500: must be at most data.clients"),
        ({"clint.lr": "0.1,0.2"}, "clint.lr = 0.1: no such group of keys"),
        ({"round": "1,2"}, "round = 1: "),
    ],
)
def test_what_is_wrong_gets_one_line(keys: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(keys)
    assert str(caught.value).startswith(message), str(caught.value)


def compared(first: list[float], second: list[float]) -> list[dict[str, object]]:
    def records(accuracy: float) -> list[dict[str, object]]:
        return [{"round": 9, "test_accuracy": 0.0, "seconds": 1.0}] + [
            {"round": n, "test_accuracy": accuracy, "seconds": 1.0} for n in (20, 30)
        ]

    run = Run(rounds=30)
    metrics = {name: dict(enumerate(map(records, values))) for name, values in (("a", first), ("b", second))}
    return Comparison({"a": run, "b": run}, metrics, Path()).rows()


def test_differences_are_paired_over_seeds() -> None:
    first, second = [0.5, 0.6, 0.9], [0.6, 0.62, 1.0]
    one, other = compared(first, second)
    assert "difference" not in one
    assert other["difference"] == pytest.approx(0.22 / 3)
    test = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert other["interval"] == pytest.approx((test.high - test.low) / 2)
    _, alone = compared([0.5], [0.6])
    assert alone["difference"] == pytest.approx(0.1)
    assert alone["interval"] is None


def test_the_command_compares_what_it_is_given(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending("compare", "client.name=sgd,sam", "client.rho=0.2", "rounds=6", "--seeds", "2", "--json", "-q", "out=c")
    rows = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in rows] == ["client.name=sgd", "client.name=sam"]
    assert all(len(row["test_accuracy"]) == 2 for row in rows)
    described = [json.loads((path / "run.json").read_text())["keys"] for path in sorted((inside / "c").glob("*-seed*"))]
    assert [(keys["client.name"], keys["seed"]) for keys in described] == [
        ("sam", 0),
        ("sam", 1),
        ("sgd", 0),
        ("sgd", 1),
    ]
    assert described[0]["client.rho"] == 0.2
