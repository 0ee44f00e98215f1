"""The study of methods: what is compared, and that its table is what the run directories say."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find, names
from fedsam.optim.base import BaseOptimizer, ClientOptimizer
from fedsam.runs.progress import Progress
from fedsam.sweeps import method_grids
from fedsam.sweeps.method_files import as_markdown
from fedsam.sweeps.method_results import Method, Methods, unbeaten
from fedsam.sweeps.method_tables import by_client, by_strategy
from fedsam.sweeps.methods import pairs, study

SMALL = {"data.clients": 8, "cohort": 3, "rounds": 6, "evaluate_every": 2, "model.width": 4, "geometry.images": 40}
SERVERS, CLIENTS = ["fedavg", "fedgf", "fedacg"], ["sgd", "sam", "samon"]
KINDS: dict[str, Any] = {"client": ClientOptimizer, "server": Strategy}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Methods:
    out = tmp_path_factory.mktemp("methods") / "out"
    keys = {name: value for name, value in SMALL.items() if not name.startswith("geometry.")}
    return study({**keys, "server.name": SERVERS, "client.name": CLIENTS}, 2, 3, Progress(quiet=True), out=out)


def written(folder: Path, **wanted: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Keys and records of the one run in a folder that has these keys."""
    found = []
    for path in folder.glob("*/run.json"):
        keys = json.loads(path.read_text())["keys"]
        if all(keys.get(key.replace("__", ".")) == value for key, value in wanted.items()):
            lines = (path.parent / "metrics.jsonl").read_text().splitlines()
            found.append((keys, [json.loads(line) for line in lines]))
    (one,) = found
    return one


def test_every_strategy_and_every_client_is_compared_or_left_out_with_a_reason() -> None:
    found, skipped = pairs({}, 2)
    compared = {pair.name for pair in found}
    everything = {f"{server} + {client}" for server in names(KINDS["server"]) for client in names(KINDS["client"])}
    assert compared | set(skipped) == everything
    assert not compared & set(skipped)
    assert found[0].name == "fedavg + sgd"  # by which the target is set
    assert {pair.server for pair in found} == set(names(KINDS["server"])) - {"fedper"}
    assert all("no layers that normalise" in skipped[f"{pair.server} + samon"] for pair in found)
    assert "models of their own" in skipped["fedper + sam"]
    assert "perturbs by itself" in skipped["fedlesam + sam"]
    assert "needs a client that perturbs" in skipped["mofedsam + sgd"]
    assert "use sgd" in skipped["scaffold + lion"]
    for pair in found:
        assert len(pair.trials) == 2
        assert pair.run(pair.trials[0]).keys()["data.alpha"] == 0.1


@pytest.mark.parametrize(("group", "grids"), [("client", method_grids.CLIENT), ("server", method_grids.SERVER)])
def test_grids_are_of_keys_and_values_that_there_are(group: str, grids: dict[str, dict[str, list[Any]]]) -> None:
    assert set(grids) <= set(names(KINDS[group]))
    for name, grid in grids.items():
        part = find(KINDS[group], name)
        for key, values in grid.items():
            assert len(values) == len(set(values))
            for value in values:
                assert part(**{key: value}).keys()[key] == value
    kinds = [find(KINDS["client"], name) for name in names(KINDS["client"])]
    assert set(method_grids.LR) == {cls().name for cls in kinds if issubclass(cls, BaseOptimizer)}


def test_trials_are_distinct_and_do_not_depend_on_what_they_are_compared_with() -> None:
    alone = pairs({"server.name": "fedgf", "client.name": "sam"}, 10)[0][0]
    among = next(pair for pair in pairs({}, 10)[0] if pair.name == "fedgf + sam")
    assert alone.trials == among.trials
    assert len({json.dumps(trial) for trial in alone.trials}) == 10
    assert {key for trial in alone.trials for key in trial} == {
        *("client.lr", "client.rho", "server.rho", "server.threshold")
    }
    every = pairs({"server.name": "fedgf", "client.name": "sam"}, 1000)[0][0].trials
    assert len(every) == 5 * 4 * 3 * 3
    assert len({json.dumps(trial) for trial in every}) == len(every)
    for key in ("client.lr", "client.rho", "server.threshold"):
        assert len({trial[key] for trial in every}) > 2


def test_given_values_take_the_place_of_a_grids() -> None:
    keys = {"server.name": "fedavg", "client.name": "sgd,sam", "client.rho": "0.3,0.5", "client.momentum": "0.9"}
    plain, sharp = pairs(keys, 100)[0]
    assert {trial["client.rho"] for trial in sharp.trials} == {"0.3", "0.5"}
    assert {"client.rho" in trial for trial in plain.trials} == {False}
    assert all(pair.run(trial).client.momentum == 0.9 for pair in (plain, sharp) for trial in pair.trials)  # type: ignore[attr-defined]
    (lion,), _ = pairs({"server.name": "fedavg", "client.name": "sam", "client.base": "lion"}, 3)
    assert {trial["client.lr"] for trial in lion.trials} <= set(method_grids.LR["lion"])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"client.name": "sgd", "server.name": "fedavg", "client.rho": 0.1}, r"^client\.rho = .*no method here"),
        ({"data.alpha": "0.1,1"}, r"^data\.alpha = .*must have one value"),
        ({"client.name": "sgd", "server.name": "mofedsam"}, "no pair is left: client.name = sgd"),
        ({"rounds": 0}, r"^rounds = 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as raised:
        pairs(keys, 2)
    assert "\n" not in str(raised.value)


def test_the_best_trial_on_held_out_examples_is_the_one_that_is_trained(done: Methods) -> None:
    compared = [
        (server, client) for server in SERVERS for client in CLIENTS[:2] if (server, client) != ("fedgf", "sgd")
    ]
    assert [(method.server, method.client) for method in done.methods] == compared
    assert set(done.skipped) == {"fedgf + sgd", *(f"{server} + samon" for server in SERVERS)}
    for method in done.methods:
        values = []
        names = {"server__name": method.server, "client__name": method.client}
        for trial, judged in method.tried:
            own = {key.replace(".", "__"): value for key, value in trial.items()}
            keys, records = written(done.out / "search", seed=100, **names, **own)
            assert keys["data.validation"] == 0.2
            values.append(
                fmean(record["validation_accuracy"] for record in records[-1:])
            )  # of round 6; 4 is two thirds
            assert judged == values[-1]
        assert method.best == values.index(max(values))
        for seed in (0, 1):
            keys, records = written(done.out / "final", seed=seed, **names)
            assert keys["data.validation"] == 0.0
            assert all(keys[key] == value for key, value in method.chosen.items())
            assert method.records[seed] == records


def test_rows_are_what_the_final_runs_wrote(done: Methods) -> None:
    rows = done.rows()
    means = [row["accuracy_mean"] for row in rows]
    assert means == sorted(means, reverse=True)
    plain = next(row for row in rows if row["method"] == "fedavg + sgd")
    assert done.target == plain["accuracy_mean"]
    for row in rows:
        names = {"server__name": row["server"], "client__name": row["client"]}
        runs = [written(done.out / "final", seed=seed, **names)[1] for seed in (0, 1)]
        ends = [fmean(record["test_accuracy"] for record in records) for records in runs]
        assert row["accuracy_mean"] == pytest.approx(fmean(ends))
        assert row["accuracy_std"] == pytest.approx(abs(ends[0] - ends[1]) / math.sqrt(2))
        assert row["lambda_max_mean"] == pytest.approx(fmean(r[-1]["geometry"]["eigenvalues"][0] for r in runs))
        seconds = [sum(record["seconds"] for record in records) / 6 for records in runs]
        assert row["seconds_per_round_mean"] == pytest.approx(fmean(seconds))
        rounds, sizes = [], []
        for records in runs:
            good = [place for place, record in enumerate(records) if record["test_accuracy"] >= done.target]
            if good:
                rounds.append(records[good[0]]["round"])
                sizes.append(sum(record["bytes_up"] + record["bytes_down"] for record in records[: good[0] + 1]))
        assert row["reached"] == len(rounds)
        assert row["rounds_to_target_mean"] == (fmean(rounds) if rounds else None)
        assert row["bytes_to_target_mean"] == (fmean(sizes) if sizes else None)


def test_files_say_the_same_and_every_setting(done: Methods) -> None:
    rows = json.loads(json.dumps(done.rows()))
    told = json.loads((done.out / "methods.json").read_text())
    assert told["methods"] == rows
    assert told["skipped"] == done.skipped
    with (done.out / "methods.csv").open() as file:
        assert [float(line["accuracy_mean"]) for line in csv.DictReader(file)] == [r["accuracy_mean"] for r in rows]
    settings = tomllib.loads((done.out / "methods.toml").read_text())
    shared = settings.pop("shared")
    assert list(settings) == [row["method"] for row in rows]
    for method in done.methods:
        run = Run.from_keys({**shared, **settings[method.name]})
        digests = {k: v for k, v in method.run.keys().items() if not k.startswith("geometry.") and k != "seed"}
        assert {key: run.keys()[key] for key in digests} == digests
    text = (done.out / "methods.md").read_text()
    assert text.partition("## All")[2].count("\n| ") == len(rows) + 1
    for heading in ("## Strategies", "## Client optimisers"):
        assert heading in text
    assert "has no layers that normalise" in text
    for kind in ("png", "svg"):
        assert (done.out / f"methods.{kind}").stat().st_size > 10_000


def test_choices_at_an_end_of_what_was_tried_are_counted(done: Methods) -> None:
    def method(chosen: int, *rates: Any) -> Method:
        return replace(
            done.methods[0], tried=[({"client.lr": rate, "client.k": 2}, 0.5) for rate in rates], best=chosen
        )

    inside, high, low, two = method(1, 1, 2, 3), method(0, 0.3, 0.1, 0.2), method(2, 5, 4, 3), method(0, 0.1, 0.2, 0.1)
    words = method(0, "adaptive", 0.5, 0.7)
    found = replace(done, methods=[inside, high, low, low, two, words])
    assert found.ends() == {"client.lr": (2, 1, 4)}
    assert "- client.lr: 2 the smallest, 1 the largest, of 4\n" in as_markdown(found)
    told = json.loads((done.out / "methods.json").read_text())
    assert told["ends"] == {key: dict(zip(("smallest", "largest", "of"), n)) for key, n in done.ends().items()}  # noqa: B905


def test_tables_by_strategy_and_by_client(done: Methods) -> None:
    """By hand: two strategies with SGD, SAM and Lion; one without SGD; accuracies of one seed, in percent."""
    ends = {"a": {"sgd": 50, "sam": 60, "lion": 20}, "b": {"sgd": 70, "sam": 76, "lion": 71}, "c": {"sam": 90}}
    curvature, seconds = {"sgd": 4.0, "sam": 1.0, "lion": 8.0}, {"sgd": 2.0, "sam": 3.0, "lion": 2.0}

    def method(server: str, client: str) -> Method:
        record: dict[str, Any] = {"round": 6, "test_accuracy": ends[server][client] / 100}
        record |= {"bytes_up": 1, "bytes_down": 10**6}
        record |= {"seconds": seconds[client] * 6, "geometry": {"eigenvalues": [curvature[client]]}}
        return replace(done.methods[0], server=server, client=client, tried=[({}, 0.5)], best=0, records={0: [record]})

    found = replace(done, methods=[method(server, client) for server in ends for client in ends[server]], given=0.69)
    heads, lines = by_strategy(found)
    assert heads[:4] == ("strategy", "sgd", "sam", "best client")
    assert [line[:5] for line in lines] == [
        ("c", "–", "90.00 ± 0.00", "sam", "90.00 ± 0.00"),
        ("b", "70.00 ± 0.00", "76.00 ± 0.00", "sam", "76.00 ± 0.00"),
        ("a", "50.00 ± 0.00", "60.00 ± 0.00", "sam", "60.00 ± 0.00"),
    ]
    assert [line[5:] for line in lines] == [("6", "1.0", "1.00"), ("6", "1.0", "1.00"), ("–", "–", "1.00")]
    heads, lines = by_client(found)
    assert heads[2:6] == ("points", "better than sgd", "λ₁", "time")
    assert lines == [
        ("sam", "3", "+8.00", "2 of 2", "0.25", "1.50", "c", "90.00 ± 0.00"),
        ("sgd", "2", "–", "–", "1.00", "1.00", "b", "70.00 ± 0.00"),
        ("lion", "2", "-14.50", "1 of 2", "2.00", "1.00", "b", "71.00 ± 0.00"),
    ]
    few = [method("b", "sam"), method("b", "lion"), method("c", "sam")]
    assert by_client(replace(found, methods=few))[1] == [
        ("sam", "2", "–", "–", "–", "–", "c", "90.00 ± 0.00"),
        ("lion", "1", "–", "–", "–", "–", "b", "71.00 ± 0.00"),
    ]


def test_started_again_it_trains_nothing(done: Methods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.sweeps.sweep.simulate", lambda *_: pytest.fail("a run was trained again"))
    monkeypatch.setattr("fedsam.sweeps.sweep.resume", lambda *_, **__: pytest.fail("a run was continued"))
    keys = {name: value for name, value in SMALL.items() if not name.startswith("geometry.")}
    given = {**keys, "server.name": SERVERS, "client.name": CLIENTS}
    again = study(given, 2, 3, Progress(quiet=True), out=done.out, target=0.1)
    assert again.target == 0.1
    assert [row["accuracy_mean"] for row in again.rows()] == [row["accuracy_mean"] for row in done.rows()]


def test_in_python_a_study_has_a_name(tmp_path: Path) -> None:
    keys = {**SMALL, "server.name": "fedavg", "client.name": "sgd"}
    found = fedsam.study("methods", keys, seeds=1, trials=1, out=tmp_path / "out", quiet=True)
    assert isinstance(found, Methods)
    assert found.rows()[0]["method"] == "fedavg + sgd"
    assert found.rows()[0]["lambda_max_mean"] is None  # as a key of the measurement was given
    assert len(found.plot().axes) == 4
    with pytest.raises(InputError, match="there are heterogeneity, methods"):
        fedsam.study("method", keys)  # type: ignore[call-overload]


def test_named_in_a_panel_is_what_none_beats_in_both() -> None:
    values = [(0.9, 5.0), (0.8, 7.0), (0.7, None), (0.6, 4.0), (0.5, 4.0), (0.4, 1.0)]
    rows = [{"accuracy_mean": accuracy, "lambda_max_mean": sharp} for accuracy, sharp in values]
    assert [row["accuracy_mean"] for row in unbeaten(rows, "lambda_max")] == [0.9, 0.6, 0.4]
