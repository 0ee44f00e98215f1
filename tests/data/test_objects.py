"""Data and partitions that are given as objects: of every holder, of every form, and what they are taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

import fedsam
from fedsam import InputError, Run
from fedsam.data.images.spec import ImageSpec
from fedsam.data.map_style import Columns, examples_of
from tests.support.given import OWNER, QUICK, RNG, USERS, X, Y


class Pairs(TorchDataset[tuple[Tensor, int]]):
    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return torch.tensor(X[at]), int(Y[at])


class Named(TorchDataset[dict[str, Any]]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"x": X[at], "label": Y[at], "who": USERS[at]}


def holders() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({f"c{n}": X[:, n] for n in range(6)} | {"label": Y, "who": USERS})
    return {
        "arrays": ((X, Y), Columns()),
        "lists": ([X.tolist(), Y.tolist()], Columns()),
        "tensors": ((torch.tensor(X), torch.tensor(Y)), Columns()),
        "tensor data set": (TensorDataset(torch.tensor(X), torch.tensor(Y)), Columns()),
        "pairs": (Pairs(), Columns()),
        "mappings": (Named(), Columns(groups="who")),
        "data frame": (table, Columns(inputs=[f"c{n}" for n in range(6)], groups="who")),
    }


@pytest.mark.parametrize("kind", holders())
def test_examples_of_every_holder(kind: str) -> None:
    given, columns = holders()[kind]
    found = examples_of(given, columns)
    assert np.allclose(found.inputs, X)
    assert found.targets.tolist() == Y.tolist()
    assert found.groups is None or found.groups.tolist() == USERS.tolist()
    assert (found.groups is not None) == (columns.groups is not None)


def test_a_hugging_face_data_set_with_a_column_for_clients() -> None:
    hub = pytest.importorskip("datasets")
    features = hub.Features(
        {
            "image": hub.Array2D((4, 4), "uint8"),
            "label": hub.ClassLabel(names=["cat", "dog"]),
            "writer": hub.Value("string"),
        }
    )
    pixels = RNG.integers(0, 256, size=(60, 4, 4)).astype(np.uint8)
    labels, writers = [n % 2 for n in range(60)], [f"w{n % 5}" for n in range(60)]
    held = hub.Dataset.from_dict({"image": pixels, "label": labels, "writer": writers}, features=features)
    own = fedsam.dataset(held, groups="writer", partition="natural")
    spec, train, test = own.read()  # type: ignore[attr-defined]
    assert isinstance(spec, ImageSpec)
    assert (spec.shape, spec.names, spec.groups) == ((4, 4, 1), ("cat", "dog"), ("w0", "w1", "w2", "w3", "w4"))
    assert len(train) == 48
    assert len(test) == 12
    federation = own.load(0)
    assert federation.clients == 5
    assert [int(n) for n in federation.sizes(range(5))] == np.bincount(train.groups, minlength=5).tolist()
    with pytest.raises(InputError, match="name a column for the groups; there are image, label, writer"):
        fedsam.dataset(held, groups="author")


def test_images_are_known_as_images() -> None:
    pixels = RNG.integers(0, 256, size=(20, 3, 5, 7)).astype(np.uint8)
    labels = np.arange(20) % 4
    for given in (pixels, pixels.transpose(0, 2, 3, 1), pixels.astype(np.float32) / 255):
        spec, _, _ = fedsam.dataset((given, labels), (given, labels)).read()  # type: ignore[attr-defined]
        assert isinstance(spec, ImageSpec)
        assert spec.shape == (5, 7, 3)
        mean = pixels.mean(axis=(0, 2, 3)) / 255
        assert spec.mean == pytest.approx(mean.tolist(), abs=1e-5)
        run = Run(data=fedsam.dataset((given, labels), (given, labels), clients=5), model="mlp", **QUICK)
        federation = run.data.load(0)
        assert np.array_equal(federation.test.inputs, pixels.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (Y, "classification"),
        (X[:, 0], "regression"),
        (X[:, :2], "regression"),
        (np.stack([Y > 0, Y > 1], axis=1).astype(np.int64), "multilabel"),
    ],
)
def test_the_task_is_that_of_the_targets(targets: np.ndarray, task: str) -> None:
    own = fedsam.dataset((X, targets), clients=5, partition="iid")
    assert Run(data=own, cohort=2).learnt.name == task
    assert fedsam.dataset((X, Y), task="regression").task == "regression"


TOKENS = RNG.integers(0, 7, size=(12, 5))
MASKS = np.where(RNG.random((12, 4, 6)) < 0.2, 255, RNG.integers(0, 3, size=(12, 4, 6))).astype(np.uint8)
PIXELS = RNG.integers(0, 256, size=(12, 4, 6, 4)).astype(np.uint8)


def test_masks_tokens_and_transparency_are_known() -> None:
    spec, train, _ = fedsam.dataset((PIXELS, MASKS)).read()  # type: ignore[attr-defined]
    assert isinstance(spec, ImageSpec)
    assert (spec.shape, spec.classes, spec.ignore) == ((4, 6, 4), 3, 255)
    assert train.targets.dtype == np.uint8
    own = fedsam.dataset((TOKENS, np.roll(TOKENS, -1, axis=1)), clients=2, partition="iid")
    spec, _, _ = own.read()  # type: ignore[attr-defined]
    assert (spec.vocabulary, spec.classes, spec.target_shape) == (7, 7, (5,))
    run = Run(data=own, model={"name": "lstm", "width": 4, "embedding": 4}, cohort=2, rounds=1)
    assert run.learnt.name == "sequence"
    assert "test_perplexity" in fedsam.simulate(run).metrics[-1]
    assert fedsam.dataset((PIXELS, MASKS)).task == "segmentation"


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(InputError, match=r"test inputs of shape \[5\], and training inputs of \[6\]"):
        fedsam.dataset((X, Y), (X[:, :5], Y))


def test_a_test_set_of_ones_own_and_one_by_lot() -> None:
    spec, train, test = fedsam.dataset((X, Y)).read()  # type: ignore[attr-defined]
    assert (len(train), len(test)) == (96, 24)
    both = np.concatenate([train.inputs, test.inputs])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, X.tolist()))
    assert spec.classes == 3
    _, train, test = fedsam.dataset((X[:100], Y[:100]), (X[100:], Y[100:])).read()  # type: ignore[attr-defined]
    assert np.array_equal(test.inputs, X[100:])
    assert Run(data=((X[:100], Y[:100]), (X[100:], Y[100:]))).data.read()[2].targets.tolist() == Y[100:].tolist()  # type: ignore[attr-defined]


LISTS = [list(range(start, 96, 8)) for start in range(8)]


def by_position(labels: np.ndarray, clients: int | None, rng: np.random.Generator) -> np.ndarray:
    return np.arange(len(labels)) % (clients or 8)


@pytest.mark.parametrize(
    "given",
    [
        LISTS,
        np.array(LISTS),
        [np.array(part) for part in LISTS],
        OWNER,
        OWNER.tolist(),
        [f"c{n}" for n in OWNER],
        torch.tensor(OWNER),
        by_position,
        lambda labels, clients, rng: LISTS,
    ],
)
def test_partitions_of_every_form(given: Any) -> None:
    own = fedsam.dataset((X, Y), partition=given)
    federation = own.load(0)
    assert federation.clients == 8
    assert [index.tolist() for index in federation.examples(range(8))[1]] == LISTS
    assert Run(data=own, **QUICK).keys()["data.partition"].startswith(("given:", __name__))
    assert Run.from_keys(Run(data=own, **QUICK).keys()) == Run(data=own, **QUICK)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (OWNER[:90], "client for each of 90 examples, the training set has 96"),
        ([[0, 1], [1, 2]], "position 1 twice"),
        ([[0, 1], [96]], "position 96"),
        (lambda labels, clients, rng: None, "neither index lists nor a client"),
    ],
)
def test_impossible_partitions_are_refused(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        fedsam.dataset((X, Y), partition=given).load(0)
    with pytest.raises(InputError, match="the partition has 8; leave it out"):
        fedsam.dataset((X, Y), partition=OWNER, clients=5).load(0)


def test_a_data_set_of_ours_divided_by_an_object() -> None:
    from fedsam.data import Digits

    train = len(Digits().load(0).train)  # type: ignore[attr-defined]
    federation = Digits(partition=np.arange(train) % 4).load(0)
    assert federation.clients == 4
