"""Examples that come from users or domains: clients made of them, and those that no client has."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.config import Component, resolve
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.gate import Gate
from fedsam.data.images.intake import ImageIntake
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intake import Intake
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.partition.grouped import Grouped
from fedsam.data.partition.iid import IID
from fedsam.data.partition.natural import Natural
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned, StoredFederation
from fedsam.data.validation import federation_of
from fedsam.measure.evaluate import evaluate
from fedsam.params import Weights
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare

NAMES = ("rome", "oslo", "lima", "cairo", "unused")
TRAIN_GROUPS = np.array([3, 0, 0, 2, 1, 3, 1, 1, 0, 2, 3, 3] * 2)
TEST_GROUPS = np.array([0, 1, 2, 3, 0, 2])


def split(groups: np.ndarray | None, begin: int, length: int) -> Split:
    """Images that say which they are: every pixel of example n is n."""
    images = np.broadcast_to(np.arange(begin, begin + length, dtype=np.uint8)[:, None, None, None], (length, 2, 2, 1))
    return Split(images.copy(), np.arange(length) % 2, groups)


class Cities(Partitioned):
    """Images from four cities."""

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups"})

    def read(self) -> tuple[Spec, Split, Split]:
        spec = ImageSpec(2, (2, 2, 1), (0.5,), (0.25,), names=("even", "odd"), groups=NAMES)
        return spec, split(TRAIN_GROUPS, 0, 24), split(TEST_GROUPS, 100, 6)


class Nowhere(Partitioned):
    """The same, without saying where from."""

    def read(self) -> tuple[Spec, Split, Split]:
        return ImageSpec(2, (2, 2, 1), (0.5,), (0.25,)), split(None, 0, 24), split(None, 100, 6)


class Untold(Cities):
    """The same, where it is not known where the test images come from."""

    def read(self) -> tuple[Spec, Split, Split]:
        spec, train, test = super().read()
        return spec, train, replace(test, groups=None)


def shown(held: Split) -> list[int]:
    """Which images a split has."""
    return [int(image.flat[0]) for image in held.inputs]


def owned(federation: Federation) -> list[list[int]]:
    """Which images each client has."""
    store, index = federation.examples(range(federation.clients))
    return [[shown(store)[at] for at in own] for own in index]


def of_city(city: int) -> list[int]:
    return np.flatnonzero(city == TRAIN_GROUPS).tolist()


def refused(**keys: Any) -> str:
    with pytest.raises(InputError) as error:
        Cities(**keys).load(0)
    return str(error.value)


# partitions


def test_natural_makes_a_client_of_each_city_in_their_order() -> None:
    federation = Cities(partition="natural").load(5)
    assert owned(federation) == [of_city(city) for city in range(4)]  # nobody is from the fifth
    assert federation.groups_of([2, 0]) == [["lima"], ["rome"]]
    assert Cities(partition="natural", clients=4).load(0).clients == 4


class Onlookers(Cities):
    """The same, with a city that has test images alone."""

    tested: tuple[int, ...] = (0, 4, 2, 4, 0, 2)

    def read(self) -> tuple[Spec, Split, Split]:
        spec, train, test = super().read()
        return spec, train, replace(test, groups=np.array(self.tested))


def test_a_group_that_has_nothing_to_train_on_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert Onlookers(partition="natural").load(0).clients == 4
    assert [record.message for record in caplog.records] == [
        "1 groups have test examples alone and are no clients: unused"
    ]
    caplog.clear()
    Onlookers(partition="iid", clients=2).load(0)  # whose clients are no groups
    Onlookers(partition="natural", unseen="unused").load(0)  # which is meant
    Cities(partition="natural").load(0)
    Onlookers(partition="natural", tested=(4, 4, 4, 4, 4, 4)).load(0)  # as Cityscapes has other cities to test on
    assert not caplog.records


def test_natural_refuses_another_number_of_clients() -> None:
    assert "there are 4 groups with training examples, and each is a client" in refused(partition="natural", clients=3)
    assert "sizes are those of the groups" in refused(partition="natural", samples_per_client=2)


def test_grouped_keeps_cities_together_and_gives_every_client_as_many() -> None:
    federations = [Cities(partition="grouped", clients=2).load(seed) for seed in range(20)]
    pairs = set()
    for federation in federations:
        cities = [sorted({int(TRAIN_GROUPS[image]) for image in own}) for own in owned(federation)]
        assert list(owned(federation)) == [sorted(of_city(a) + of_city(b)) for a, b in cities]
        assert sorted(city for pair in cities for city in pair) == [0, 1, 2, 3]
        pairs.add(tuple(map(tuple, cities)))
    assert len(pairs) == 6  # every way to choose two of four
    assert owned(Cities(partition="grouped", clients=2).load(3)) == owned(federations[3])
    three = Cities(partition="grouped", clients=3).load(0)
    assert sorted(len(names) for names in three.groups_of(range(3))) == [1, 1, 2]


def test_grouped_refuses_more_clients_than_cities() -> None:
    assert "more clients than the 4 groups" in refused(partition="grouped", clients=5)


@pytest.mark.parametrize("partition", [Natural(), Grouped()])
def test_a_data_set_without_groups_is_refused_before_it_is_read(partition: Component) -> None:
    with pytest.raises(InputError, match=r"data.partition = \w+: needs groups, which .* has not; use .*iid") as error:
        Run(data=Nowhere(partition=partition, clients=5))
    assert "natural" not in str(error.value).partition("use ")[2]
    with pytest.raises(InputError, match="needs to know which user or domain"):
        Nowhere(partition=partition, clients=5).load(0)


def test_a_cohort_may_be_larger_than_the_default_number_of_clients() -> None:
    assert Run(data=Cities(partition="natural"), cohort=1262).cohort == 1262
    with pytest.raises(InputError, match=r"cohort = 5: must be at most 4, the clients of the data set"):
        fedsam.simulate(Run(data=Cities(partition="natural"), cohort=5, rounds=1))


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


# the check of what is handed in


def test_groups_are_checked() -> None:
    spec = Spec(None, (1,), groups=("a", "b"))
    inputs, targets = np.zeros((3, 1), dtype=np.float32), np.zeros(3, dtype=np.float32)
    intake = Intake("own", spec)
    good = Split(inputs, targets, np.array([0, 1, 1]))
    assert intake.split(good, "training") is good
    assert intake.split(Split(inputs, targets, [1, 0, 1]), "training").groups.tolist() == [1, 0, 1]  # type: ignore
    for groups, told in (
        ([0, 1], r"groups of shape \[2\], must be \[3\]"),
        ([0, 1, 2], "has the group 2; there are 2"),
        ([0, -1, 0], "has the group -1"),
        ([0, 0.5, 0], "not whole"),
    ):
        with pytest.raises(InputError, match=told):
            intake.split(Split(inputs, targets, np.array(groups)), "training")
    with pytest.raises(InputError, match="no two are the same"):
        Intake("own", replace(spec, groups=("a", "a")))


def test_groups_of_images_are_checked() -> None:
    spec, train, _ = Cities().read()
    assert isinstance(spec, ImageSpec)
    intake = ImageIntake("own", spec)
    assert intake.spec.groups == NAMES
    assert intake.split(train, "training") is train
    as_whole = replace(train, inputs=train.inputs.astype(np.int32))
    assert intake.split(as_whole, "training").groups is train.groups
    with pytest.raises(InputError, match="has the group 5; there are 5"):
        intake.split(replace(train, groups=train.groups + 2), "training")  # type: ignore[operator]


class Own(Dataset):
    """A federation of somebody's own with one more test split."""

    more: str = "elsewhere"

    def load(self, seed: int) -> Federation:
        spec, train, test = Cities().read()
        return StoredFederation(
            spec, train, test, Assignment.of([np.arange(24)]), Assignment.of([np.arange(0)]),
            further={self.more: replace(test, inputs=test.inputs.astype(np.int32))},
        )  # fmt: skip


def test_further_splits_of_ones_own_are_brought_into_form() -> None:
    federation = federation_of(Own(clients=1), 0)
    assert isinstance(federation, Gate)
    assert federation.further["elsewhere"].inputs.dtype == np.uint8
    with pytest.raises(InputError, match="test split 'train'; must be one word"):
        federation_of(Own(clients=1, more="train"), 0)
    assert not federation_of(Own(clients=1, validation=0.2), 0).further


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


# shards


def test_shards_of_images_name_their_users(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fedsam.data.parquet import Parquet
    from tests.support.image_files import encoded, picture

    for n, part in enumerate(("train", "train", "test")):
        columns = {
            "img": [{"bytes": encoded(picture(10 * n + at)), "path": None} for at in range(4)],
            "label": [at % 2 for at in range(4)],
            "writer": [30, 4, 30, 4],
        }
        pq.write_table(pa.table(columns), tmp_path / f"{part}-{n}.parquet")
    data = Parquet(train_file=str(tmp_path), test_file=str(tmp_path), client_column="writer", partition="natural")
    federation = data.load(0)
    assert federation.groups_of(range(2)) == [["4"], ["30"]]
    store, (first, _) = federation.examples(range(2))
    assert np.array_equal(store.inputs[first], np.stack([picture(n) for n in (1, 3, 11, 13)]))
    assert federation.test.groups is not None
    assert federation.test.groups.tolist() == [1, 0, 1, 0]
    with pytest.raises(InputError, match="has no column 'user'"):
        data.replace(client_column="user").load(0)
