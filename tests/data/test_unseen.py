"""Users and domains that no client has: held out, tested on apart, told in records."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.config import resolve
from fedsam.data.base import Split
from fedsam.data.partition.base import Partition
from fedsam.data.partition.iid import IID
from fedsam.data.spec import Spec
from fedsam.data.validation import federation_of
from fedsam.measure.evaluate import evaluate
from fedsam.params import Weights
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare
from tests.support.cities import (
    TRAIN_GROUPS,
    Cities,
    Nowhere,
    Untold,
    of_city,
    owned,
    refused,
    shown,
)

# unseen


def test_unseen_cities_are_in_no_client_and_are_tested_on_apart() -> None:
    federation = Cities(partition="natural", unseen="oslo, cairo").load(0)
    assert owned(federation) == [of_city(0), of_city(2)]
    assert federation.groups_of(range(2)) == [["rome"], ["lima"]]
    assert shown(federation.test) == [100, 102, 104, 105]
    unseen = federation.further["unseen"]
    assert shown(unseen) == [*sorted(of_city(1) + of_city(3)), 101, 103]
    labels = [n % 2 for n in [*sorted(of_city(1) + of_city(3)), 1, 3]]
    assert unseen.targets.tolist() == labels
    assert unseen.groups is not None
    assert set(unseen.groups.tolist()) == {1, 3}
    assert sum(map(len, owned(federation)), len(unseen) - 2) == 24


def test_a_number_of_cities_is_drawn_by_the_seed() -> None:
    drawn = []
    for seed in range(40):
        federation = Cities(partition=IID(), clients=3, unseen=2).load(seed)
        groups = federation.further["unseen"].groups
        assert groups is not None
        out = np.unique(groups).tolist()
        assert len(out) == 2
        assert not {int(TRAIN_GROUPS[image]) for own in owned(federation) for image in own} & set(out)
        drawn.append(tuple(out))
    assert len(set(drawn)) == 6
    again = Cities(unseen="2", clients=3, partition="natural").replace(clients=2).load(7).further["unseen"]
    assert tuple(np.unique(again.groups).tolist()) == drawn[7]  # whatever the partition


def test_positions_count_what_is_left_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "split.json").write_text("[[0, 1], [3]]")
    divided = resolve(Partition, {"name": "file", "split_file": str(tmp_path / "split.json")})
    federation = Cities(partition=divided, clients=2, unseen="rome").load(0)
    left = [n for n in range(24) if n not in of_city(0)]
    assert owned(federation) == [[left[0], left[1]], [left[3]]]
    told = f"data.partition=file: its positions count the {len(left)} training examples that data.unseen leaves of 24"
    assert caplog.messages == [told]
    caplog.clear()
    Cities(partition=divided, clients=2).load(0)
    assert not caplog.messages


@pytest.mark.parametrize("given", ["oslo,cairo", "[cairo, oslo]", ["oslo", "cairo"], "oslo,cairo,"])
def test_names_are_understood_as_lists_and_in_brackets(given: Any) -> None:
    assert shown(Cities(unseen=given, partition="natural").load(0).test) == [100, 102, 104, 105]


def test_a_name_that_is_a_number_is_told_from_a_number_by_a_comma() -> None:
    class Angles(Cities):
        def read(self) -> tuple[Spec, Split, Split]:
            spec, train, test = super().read()
            return replace(spec, groups=("0", "1", "2", "3")), train, test

    for given in ("1,", ["1"], "[1,]"):
        federation = Angles(unseen=given, partition="natural").load(0)
        assert federation.groups_of(range(3)) == [["0"], ["2"], ["3"]]


@pytest.mark.parametrize(
    ("unseen", "told"),
    [
        ("paris", "there is no 'paris'; there are rome, oslo, lima, cairo, unused"),
        ("unused", "the group 'unused' has no example"),
        ("4", "must be from 1 to 3"),
        ("0", "must be from 1 to 3"),
        (",", "must be a number, or names of groups"),
        ("rome,oslo,lima,cairo", "names every group that has training examples"),
    ],
)
def test_what_cannot_be_held_out_is_refused(unseen: str, told: str) -> None:
    assert told in refused(unseen=unseen, partition="natural")


def test_unseen_needs_groups() -> None:
    with pytest.raises(InputError, match=r"data\.unseen = 1: needs groups"):
        Run(data=Nowhere(unseen=1))


def test_test_images_from_nowhere_stay_where_they_are(caplog: pytest.LogCaptureFixture) -> None:
    federation = Untold(partition="natural", unseen="oslo").load(0)
    assert shown(federation.test) == list(range(100, 106))
    assert shown(federation.further["unseen"]) == of_city(1)
    assert "the unseen groups are those of training alone" in caplog.text


def test_a_run_for_tuning_looks_at_neither_test_set() -> None:
    class Sealed(Cities):
        def read(self) -> tuple[Spec, Split, Split]:
            return *super().read()[:2], None  # type: ignore[return-value]

    federation = federation_of(Sealed(partition="natural", unseen="oslo", validation=0.25), 0)
    assert federation.measured == "validation"
    assert not federation.further
    trained = {image for own in owned(federation) for image in own}
    assert not (trained | set(shown(federation.test))) & set(of_city(1))
    assert trained | set(shown(federation.test)) == set(of_city(0) + of_city(2) + of_city(3))


def test_noise_skew_and_local_tests_leave_groups_and_the_unseen_alone() -> None:
    keys = {"label_noise": 0.5, "local_test": 0.3, "skew": "feature"}
    federation = Cities(partition="natural", unseen="oslo", **keys).load(0)
    plain = Cities(partition="natural", unseen="oslo").load(0)
    assert federation.groups_of(range(3)) == plain.groups_of(range(3)) == [["rome"], ["lima"], ["cairo"]]
    for name in ("inputs", "targets"):
        assert np.array_equal(getattr(federation.further["unseen"], name), getattr(plain.further["unseen"], name))


# records


def run(**keys: Any) -> Run:
    data = Cities(partition="natural", unseen="oslo,lima")
    return Run(data=data, cohort=2, rounds=2, evaluate_every=1, **keys)


def test_records_tell_of_each_split_what_was_measured_there(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = fedsam.simulate(run(out=str(out), task={"name": "auto", "extra_metrics": "macro_f1"}, average="ema"))
    last = result.metrics[-1]
    measured = {"accuracy", "macro_f1", "loss"}
    assert {f"{s}_{name}" for s in ("test", "unseen") for name in measured} | {"raw_unseen_accuracy"} <= set(last)
    from fedsam.flatness.loaded_run import LoadedRun

    loaded = LoadedRun(out)
    context = loaded.context
    for split_, data in {"test": loaded.federation.test, **loaded.federation.further}.items():
        inputs = context.prepare(context.place(data).inputs)
        for name, theta_P in ((split_, loaded.served.theta_P), (f"raw_{split_}", loaded.raw.theta_P)):
            share = float((context.outputs(Weights(theta_P), inputs).argmax(dim=1).numpy() == data.targets).mean())
            assert last[f"{name}_accuracy"] == share
    assert last["raw_unseen_accuracy"] != last["raw_test_accuracy"]
    assert last["unseen_loss"] == pytest.approx(
        evaluate(loaded.context, loaded.served, loaded.context.place(loaded.federation.further["unseen"]))[0],
        abs=1e-12,
    )
    described = json.loads((out / "run.json").read_text())
    assert described["splits"] == {"test": 3, "unseen": 13}
    assert "unseen examples" in described["fingerprint"]["data"]
    assert json.loads((out / "partition.json").read_text())["groups"] == [["rome"], ["cairo"]]
    summary = result.summary()
    assert summary["unseen_accuracy"] == last["unseen_accuracy"]
    assert summary["unseen_loss"] == last["unseen_loss"]


def test_the_same_run_without_the_key_has_the_digest_that_it_had() -> None:
    from fedsam.run import digest_of

    keys = Run(data="digits").keys()
    before = {name: value for name, value in keys.items() if name != "data.unseen"}
    assert "data.unseen" in keys
    assert digest_of(keys) == digest_of(before)
    assert run().digest() != run().replace(data=Cities(partition="natural", unseen="oslo")).digest()


def test_one_city_after_the_other_is_left_out_in_a_sweep(tmp_path: Path) -> None:
    runs = {
        name: run().replace(data=Cities(partition="natural", unseen=name)) for name in ("rome", "oslo", "lima", "cairo")
    }
    with Progress(quiet=True) as progress:
        comparison = compare(runs, 1, progress, out=tmp_path)
    rows = comparison.rows()
    for row in rows:
        (values,) = comparison.metrics[row["setting"]].values()
        assert row["further"]["unseen"]["values"] == [np.mean([record["unseen_accuracy"] for record in values])]
    table = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [float(line["unseen_mean"]) for line in table] == [row["further"]["unseen"]["mean"] for row in rows]
    head, _, *lines = (tmp_path / "table.md").read_text().splitlines()
    assert head.endswith("| unseen |")
    assert all(line.count("|") == 5 for line in lines[:4])
    assert "Unseen accuracy" in (tmp_path / "report.html").read_text()
