"""Partitioners of flwr-datasets as partitions."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run, dataset
from fedsam.config import find
from fedsam.data.partition.base import Partition
from fedsam.data.partition.objects import taken

partitioners = pytest.importorskip("flwr_datasets.partitioner")
LABELS = np.random.default_rng(0).integers(0, 5, 400)
CASES: dict[str, dict[str, Any]] = {
    "ContinuousPartitioner": {"strictness": 0.5},
    "DirichletPartitioner": {"alpha": 0.5, "min_partition_size": 2},
    "ExponentialPartitioner": {},
    "IidPartitioner": {},
    "InnerDirichletPartitioner": {"partition_sizes": [100, 200, 50, 50], "alpha": 0.4},
    "LinearPartitioner": {},
    "PathologicalPartitioner": {"num_classes_per_partition": 2},
    "ShardPartitioner": {"num_shards_per_partition": 2},
    "SizePartitioner": {"partition_sizes": [100, 50, 50, 50]},
    "SquarePartitioner": {},
}
NO_KEY = {"DistributionPartitioner", "IdToSizeFncPartitioner"}


def assigned(name: str, seed: int = 1, **keys: Any) -> Any:
    partition = find(Partition, f"flwr:{name}")(**keys)
    return partition.assign(LABELS, 0 if partition.counts else 4, None, np.random.default_rng(seed))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_the_partitioner_gives(name: str) -> None:
    """Four clients, no example twice, the same for the same seed and after a journey."""
    found = assigned(name, **CASES[name])
    assert found.clients == 4
    assert len(np.unique(found.index)) == len(found.index) <= 400
    assert np.array_equal(found.index, assigned(name, **CASES[name]).index)
    travelled = pickle.loads(pickle.dumps(find(Partition, f"flwr:{name}")(**CASES[name])))
    assert travelled.name == f"flwr:{name}"
    assert travelled.keys() == find(Partition, f"flwr:{name}")(**CASES[name]).keys()
    chance = (
        "shuffle" in type(travelled).model_fields and name != "DirichletPartitioner"
    )  # which shuffles within clients
    if chance:
        assert not np.array_equal(found.index, assigned(name, seed=2, **CASES[name]).index)


def test_all_of_them_are_here() -> None:
    natural = {"NaturalIdPartitioner", "GroupedNaturalIdPartitioner"}
    vertical = {name for name in partitioners.__all__ if name.startswith("Vertical")}
    assert {*partitioners.__all__} - {"Partitioner"} == {*CASES} | natural | vertical | NO_KEY
    for name in vertical:
        with pytest.raises(InputError, match="divides the columns of a table"):
            find(Partition, f"flwr:{name}")
    for name in NO_KEY:
        with pytest.raises(InputError, match="needs a default, or a type that a key can have"):
            find(Partition, f"flwr:{name}")


def test_by_hand() -> None:
    """Two classes for each client; sizes in proportion to 1, 2, 3, 4."""
    pathological = assigned("PathologicalPartitioner", num_classes_per_partition=2)
    assert [len(set(LABELS[pathological.of_client(k)])) for k in range(4)] == [2, 2, 2, 2]
    assert assigned("LinearPartitioner").sizes().tolist() == [40, 80, 120, 160]


def test_natural_ids_are_the_users() -> None:
    users = np.arange(400) % 7
    partition = find(Partition, "flwr:NaturalIdPartitioner")()
    with pytest.raises(InputError, match="goes by the user of each example, which this data set has not"):
        partition.of_groups(None, ())
    found = partition.of_groups(users, tuple("abcdefg")).assign(LABELS, 0, None, np.random.default_rng(0))
    assert sorted({tuple(set(users[found.of_client(k)])) for k in range(7)}) == [(k,) for k in range(7)]


def test_in_a_run_and_as_an_object() -> None:
    keys = {
        "data.partition": "flwr:PathologicalPartitioner",
        "data.num_classes_per_partition": 2,
        "data.clients": 5,
        "cohort": 2,
    }
    run = Run.from_keys(keys)
    assert Run.from_keys(run.keys()) == run
    assert run.data.load(0).clients == 5
    rng = np.random.default_rng(0)
    given = partitioners.ShardPartitioner(num_partitions=4, partition_by="label", num_shards_per_partition=1, seed=3)
    data = dataset((rng.normal(size=(400, 3)), LABELS), partition=given, name="own")
    assert data.load(0).clients == 4
    assert data.load(0).clients == 4  # the object itself is left as it was
    assert taken(given) is not None


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"num_classes_per_partition: needs a value, flwr-datasets has no default"):
        find(Partition, "flwr:PathologicalPartitioner")()
    with pytest.raises(InputError, match=r"did you mean flwr:PathologicalPartitioner\?"):
        find(Partition, "flwr:PathologicPartitioner")
    with pytest.raises(InputError, match=r"clients = 3: flwr:SizePartitioner gives 4 clients"):
        find(Partition, "flwr:SizePartitioner")(partition_sizes=[9, 9, 9, 9]).assign(
            LABELS, 3, None, np.random.default_rng(0)
        )
    with pytest.raises(InputError, match=r"partition = flwr:PathologicalPartitioner: refuses: "):
        assigned("PathologicalPartitioner", num_classes_per_partition=50)
