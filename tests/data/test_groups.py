"""Clients made of users or domains, and what is checked of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.config import Component
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.gate import Gate
from fedsam.data.images.intake import ImageIntake
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intake import Intake
from fedsam.data.partition.base import Assignment
from fedsam.data.partition.grouped import Grouped
from fedsam.data.partition.natural import Natural
from fedsam.data.spec import Spec
from fedsam.data.stored import StoredFederation
from fedsam.data.validation import federation_of
from tests.support.cities import (
    NAMES,
    TRAIN_GROUPS,
    Cities,
    Nowhere,
    of_city,
    owned,
    refused,
)

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
