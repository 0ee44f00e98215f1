"""Data of a user's own callable."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

import fedsam
from fedsam import InputError, Run
from fedsam.config import find
from fedsam.data.base import Dataset
from fedsam.data.images.spec import ImageSpec
from fedsam.data.stored import StoredFederation

BYTES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)


class Pictures(TorchDataset[Any]):
    """PIL images of three users."""

    def __init__(self, some: slice, form: str = "pil") -> None:
        self.images, self.form = BYTES[some], form

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> Any:
        image: Any = Image.fromarray(self.images[at])
        if self.form == "tensor":
            image = torch.from_numpy(self.images[at]).permute(2, 0, 1) / 255
        return image, at % 3, ("ann", "bob", "cy")[at % 3]


def pictures(form: str = "pil", train: int = 9) -> tuple[Pictures, Pictures]:
    return Pictures(slice(train), form), Pictures(slice(train, None), form)


def numbers(width: int) -> dict[str, TensorDataset]:
    x = torch.arange(8.0 * width).view(8, width) / 7
    return {name: TensorDataset(x, (x[:, 0] * 2 - 1)) for name in ("train", "test")}


def arrays() -> tuple[Any, ...]:
    tokens = np.arange(24).reshape(6, 4) % 5
    following = np.concatenate([tokens[:, 1:], np.full((6, 1), -100)], axis=1)
    part = tokens, following, ["a", "b"] * 3
    return part, part


def masked() -> tuple[Any, Any]:
    masks = (BYTES[..., 0] % 3).astype(np.uint8)
    masks[:, 0] = 255
    return (BYTES[:8], masks[:8]), (BYTES[8:], masks[8:])


def data(name: str, **keys: Any) -> Any:
    return find(Dataset, f"{__name__}:{name}")(**keys)  # type: ignore[type-abstract]


def load(name: str, **keys: Any) -> StoredFederation:
    found = data(name, **{"partition": "iid", "clients": 2, **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


@pytest.mark.parametrize("form", ["pil", "tensor"])
def test_a_pair_of_torch_data_sets_of_images_and_users(form: str) -> None:
    federation = load("pictures", form=form, partition="natural", clients=100)
    spec = federation.spec
    assert isinstance(spec, ImageSpec)
    assert (spec.classes, spec.shape, spec.groups) == (3, (4, 5, 3), ("ann", "bob", "cy"))
    assert np.array_equal(federation.train.inputs, BYTES[:9])
    assert np.array_equal(federation.test.inputs, BYTES[9:])
    assert federation.groups_of(range(3)) == [["ann"], ["bob"], ["cy"]]


def test_parameters_are_keys() -> None:
    run = Run.from_keys({"data.name": f"{__name__}:pictures", "data.train": 6, "data.partition": "natural"})
    assert run.keys()["data.train"] == 6
    assert Run.from_keys(run.keys()) == run
    assert run.data.load(0).sizes(range(3)).tolist() == [2, 2, 2]
    assert pickle.loads(pickle.dumps(run.data)) == run.data
    result = fedsam.simulate(run.replace(rounds=1, cohort=2))
    assert "test_accuracy" in result.metrics[-1]
    with pytest.raises(InputError, match="width: needs a value"):
        data("numbers")
    with pytest.raises(InputError, match="no such key here"):
        data("pictures", size=3)


def test_numbers_and_fractions_are_for_regression() -> None:
    federation = load("numbers", width=3)
    assert federation.spec.classes is None
    assert federation.train.inputs[1].tolist() == pytest.approx([3 / 7, 4 / 7, 5 / 7])
    own = data("numbers", width=3, partition="iid", clients=2)
    last = fedsam.simulate(Run(data=own, task="regression", cohort=2, rounds=1)).metrics[-1]
    assert "test_rmse" in last


def test_arrays_of_tokens_and_of_masks() -> None:
    federation = load("arrays", partition="natural", clients=2)
    spec = federation.spec
    assert (spec.vocabulary, spec.classes, spec.target_shape, spec.groups) == (5, 5, (4,), ("a", "b"))
    own = data("arrays", partition="natural", clients=2)
    run = Run(data=own, task="sequence", model={"name": "lstm", "width": 8, "embedding": 4}, cohort=2, rounds=1)
    assert "test_perplexity" in fedsam.simulate(run).metrics[-1]
    segmented = data("masked", partition="iid", clients=2)
    from fedsam.tasks.segmentation import Segmentation

    found = segmented.learning(Segmentation()).load(0)
    assert found.spec.masks
    assert (found.spec.classes, found.spec.ignore) == (3, 255)
    assert np.array_equal(found.train.targets, masked()[0][1])


def returning(found: Any) -> Any:
    def given() -> tuple[Any, ...]:
        return found  # type: ignore[no-any-return]

    return given


class Broken(Pictures):
    def __getitem__(self, at: int) -> Any:
        if at == 2:
            raise OSError("disk is gone")
        return super().__getitem__(at)


class Bare(Pictures):
    def __getitem__(self, at: int) -> Any:
        return self.images[at]


def tensors(*shape: int) -> Tensor:
    return torch.zeros(*shape)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (3, "returned int, must be (training, test)"),
        ((Pictures(slice(3)),), "returned tuple, must be (training, test)"),
        ((Pictures(slice(3)), 4), "its test set: holds no examples; give (inputs, targets)"),
        ((Broken(slice(4)), Pictures(slice(3))), "its training set: example 2 raised OSError: disk is gone"),
        (
            (Pictures(slice(3)), Bare(slice(3))),
            "its test set: has examples of type ndarray, must have examples (input, target)",
        ),
        ((Pictures(slice(0)), Pictures(slice(3))), "its training set: there is not one example"),
        (((tensors(4, 2), tensors(3)),) * 2, "its training set: there are 4 inputs and 3 targets"),
        (((tensors(4, 2), tensors(4)), (tensors(4, 3), tensors(4))), "has test inputs of shape [3], and training"),
        (((["a", "b"], tensors(2)),) * 2, "its training set: the inputs are text"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, found: Any, told: str) -> None:
    monkeypatch.setattr(sys.modules[__name__], "given", returning(found), raising=False)
    with pytest.raises(InputError) as error:
        load("given")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parameter_that_is_a_key_of_every_data_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(clients: int = 3) -> tuple[Any, ...]:
        return ()

    monkeypatch.setattr(sys.modules[__name__], "given", given, raising=False)
    with pytest.raises(InputError, match="its parameter 'clients' is a key of every data set"):
        load("given")
