"""Data sets of one's own: each odd form is taken as what it must mean, to the same bits, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedsam import InputError, Run, RunError, simulate
from fedsam.data.base import Dataset, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intakes import intake_of
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.stored import Partitioned
from fedsam.data.validation import federation_of
from fedsam.rng import stream

Change = Callable[[np.ndarray, np.ndarray], Any]
SPEC = ImageSpec(4, (6, 5, 3), (0.4, 0.5, 0.45), (0.3, 0.25, 0.2))
GREY = ImageSpec(4, (6, 5, 1), (0.5,), (0.3,))


def arrays(channels: int = 3, examples: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = stream(7, "intake")
    images = rng.integers(256, size=(examples, 6, 5, channels), dtype=np.uint8)
    images[0, 0, 0], images[1, 0, 0] = 0, 255
    return images, np.arange(examples) % 4


def taken(change: Change, spec: Any = SPEC, name: str = "mine:Own") -> tuple[ImageSpec, Split]:
    images, labels = arrays(1 if spec is GREY else 3)
    intake = intake_of(name, spec)
    given = change(images, labels)
    split = intake.split(Split(*given) if isinstance(given, tuple) and len(given) == 2 else given, "training")
    return intake.spec, split


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def objects(array: np.ndarray) -> np.ndarray:
    found = np.empty(len(array), dtype=object)
    for at, one in enumerate(array):
        found[at] = one
    return found


CERTAIN: dict[str, Change] = {
    "as it should be": lambda x, y: (x, y),
    "a pair": lambda x, y: [x, y],
    "read-only": lambda x, y: (read_only(x), read_only(y)),
    "not contiguous": lambda x, y: (np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2)[::2]),
    "columns first in memory": lambda x, y: (np.asfortranarray(x), y),
    "channels first": lambda x, y: (x.transpose(0, 3, 1, 2), y),
    "tensors": lambda x, y: (torch.from_numpy(x), torch.from_numpy(y)),
    "tensors, channels first, with gradient": lambda x, y: (
        (torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255).requires_grad_(),
        torch.from_numpy(y).int(),
    ),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "list of arrays": lambda x, y: (list(x), list(y)),
    "list of tensors": lambda x, y: ([torch.from_numpy(one) for one in x], [torch.tensor(one) for one in y]),
    "objects": lambda x, y: (objects(x), y.astype(object)),
    "PIL images": lambda x, y: ([Image.fromarray(one) for one in x], y),
    "int64 images": lambda x, y: (x.astype(np.int64), y),
    "uint16 images": lambda x, y: (x.astype(">u2"), y),
    "whole floats": lambda x, y: (x.astype(np.float32), y),
    "floats from 0 to 1": lambda x, y: ((x / 255).astype(np.float32), y),
    "floats in half precision": lambda x, y: ((x / 255).astype(np.float16), y),
    "doubles, the other byte order": lambda x, y: ((x / 255).astype(">f8"), y.astype(">i4")),
    "uint8 labels": lambda x, y: (x, y.astype(np.uint8)),
    "uint64 labels": lambda x, y: (x, y.astype(np.uint64)),
    "float labels": lambda x, y: (x, y.astype(np.float32)),
    "a column of labels": lambda x, y: (x, y[:, None].astype(np.uint8)),
    "a row of labels": lambda x, y: (x, y[None]),
    "one-hot labels": lambda x, y: (x, np.eye(4)[y]),
    "one-hot truth values": lambda x, y: (x, torch.eye(4)[torch.from_numpy(y)].bool()),
}


@pytest.mark.parametrize("change", CERTAIN.values(), ids=list(CERTAIN))
def test_what_can_mean_one_thing_is_taken_as_that(change: Change) -> None:
    spec, split = taken(change)
    images, labels = arrays()
    assert spec is SPEC
    assert (split.inputs.dtype, split.targets.dtype) == (np.uint8, np.int64)
    assert split.targets.dtype.isnative
    assert split.inputs.flags.c_contiguous
    np.testing.assert_array_equal(split.inputs, images)
    np.testing.assert_array_equal(split.targets, labels)


def test_what_is_right_is_the_same_object() -> None:
    split = Split(*arrays())
    assert intake_of("mine:Own", SPEC).split(split, "training") is split


def test_a_grey_data_set_needs_no_channel_axis() -> None:
    images, _ = arrays(1)
    truth = images > 127
    forms: list[tuple[Change, np.ndarray]] = [
        (lambda x, y: (x[..., 0], y), images),
        (lambda x, y: (x.transpose(0, 3, 1, 2), y), images),
        (lambda x, y: ([Image.fromarray(one[..., 0]) for one in x], y), images),
        (lambda x, y: (truth, y), truth * np.uint8(255)),
        (lambda x, y: (truth[..., 0].astype(float), y), truth * np.uint8(255)),
    ]
    for change, expected in forms:
        split = taken(change, GREY)[1]
        np.testing.assert_array_equal(split.inputs, expected)
    twice = [Image.fromarray(one[..., 0]) for one in images]
    np.testing.assert_array_equal(taken(lambda x, y: (twice, y))[1].inputs, np.repeat(images, 3, axis=3))


def test_truth_values_are_two_classes() -> None:
    split = taken(lambda x, y: (x, y > 1), replace(SPEC, classes=2))[1]
    assert split.targets.tolist() == [0, 0, 1, 1] * 6


def test_floats_where_one_is_white_become_bytes() -> None:
    spec, split = taken(lambda x, y: (x / 255, y), replace(SPEC, scale=1))
    assert spec == replace(SPEC, scale=255.0)
    np.testing.assert_array_equal(split.inputs, arrays()[0])
    sixteen = arrays()[0] // 16
    spec, split = taken(lambda x, y: (sixteen / 16, y), replace(SPEC, scale=16.0))
    assert spec.scale == 16.0
    np.testing.assert_array_equal(split.inputs, sixteen)


def test_facts_may_be_numbers_of_any_kind() -> None:
    kinds: list[Any] = [list, np.array, torch.tensor]
    for kind in kinds:
        odd = ImageSpec(np.int64(4), kind([6, 5, 3]), kind(SPEC.mean), kind(SPEC.std), 255)  # type: ignore[arg-type]
        spec = taken(lambda x, y: (x, y), odd)[0] if kind is not torch.tensor else intake_of("mine", odd).spec
        assert (spec.classes, spec.shape) == (4, (6, 5, 3))
        np.testing.assert_allclose(spec.mean + spec.std, SPEC.mean + SPEC.std, rtol=1e-6)
        assert isinstance(spec.mean, tuple)


def test_bytes_with_facts_in_bytes_are_what_they_say() -> None:
    spec = ImageSpec(4, (6, 5, 3), (125.0, 123.0, 114.0), (63.0, 62.0, 67.0), 1.0)
    assert taken(lambda x, y: (x, y), spec)[0] is spec


REFUSED: dict[str, tuple[Change, str]] = {
    "nothing": (lambda x, y: None, "is NoneType, must be Split"),
    "no images": (lambda x, y: (None, y), "has images that are missing (None); must be arrays"),
    "surplus images": (lambda x, y: (x, y[:15]), "has 24 images and 15 labels; each image needs its own"),
    "surplus labels": (lambda x, y: (x[:15], y), "has 15 images and 24 labels; each image needs its own"),
    "empty": (lambda x, y: (x[:0], y[:0]), "is empty; it needs at least one image"),
    "paths": (lambda x, y: (["a.png"] * 24, y), "has images that are text; must be arrays"),
    "a number": (lambda x, y: (5, y), "has images that are a single number; must be arrays"),
    "ragged": (
        lambda x, y: ([*x[:-1], x[0, :4]], y),
        "has images that are of different shapes: [6, 5, 3] and [4",
    ),
    "16-bit images": (lambda x, y: (x * np.uint16(257), y), "has pixels from 0 to 65535, must be bytes, from 0 to 255"),
    "signed": (
        lambda x, y: (x.astype(np.int16) - 128, y),
        "has pixels from -128 to 127, must be bytes, from 0 to 255",
    ),
    "normalised": (lambda x, y: ((x / 255 - 0.5) / 0.5, y), "has pixels from -1 to 1, must be bytes, from 0 to 255"),
    "resized floats": (
        lambda x, y: (x / 510, y),
        "has images of float64 that are no bytes / 255; hand in (ima",
    ),
    "floats between bytes": (lambda x, y: (x * 0.5, y), "has images of float64 that are no bytes / 1; hand in (images"),
    "NaN": (lambda x, y: (np.where(x == 255, np.nan, x / 255), y), "has pixels that are NaN or infinite"),
    "infinite": (lambda x, y: (np.where(x == 255, np.inf, x / 255), y), "has pixels that are NaN or infinite"),
    "divided as bytes": (
        lambda x, y: (x // 255, y),
        "has no pixel above 1, but 255 is white (ImageSpec.scale); multiply",
    ),
    "one channel": (lambda x, y: (x[..., :1], y), "has images of shape [24, 6, 5, 1], must be [N, 6, 5, 3] by ImageS"),
    "flat": (
        lambda x, y: (x.reshape(len(x), -1), y),
        "has images of shape [24, 90], must be [N, 6, 5, 3] by ImageSpec.shape",
    ),
    "labels from 1": (
        lambda x, y: (x, y + 1),
        "has the label 4, must be from 0 to 3 (ImageSpec.classes = 4); they s",
    ),
    "label -1": (lambda x, y: (x, y - 1), "has the label -1, must be from 0 to 3 (ImageSpec.classes = 4)"),
    "more classes": (lambda x, y: (x, y * 2), "has the label 6, must be from 0 to 3 (ImageSpec.classes = 4)"),
    "broken labels": (
        lambda x, y: (x, y / 2),
        "has labels that are not whole, such as 0.5; must be classes",
    ),
    "NaN labels": (
        lambda x, y: (x, np.where(y == 0, np.nan, y)),
        "has labels that are NaN or infinite in places",
    ),
    "text labels": (lambda x, y: (x, y.astype(str)), "has labels that are text; must be arrays"),
    "vast labels": (lambda x, y: (x, y.astype(np.uint64) + 2**63), "has labels that are as large as 92233720368547758"),
    "no label": (lambda x, y: (x, [None, *y[1:]]), "has labels that are missing (None); must be arrays"),
    "two classes": (lambda x, y: (x, np.eye(4)[y] + np.eye(4)[0]), "has labels of shape [24, 4], must be [N], a class"),
    "multi-label": (
        lambda x, y: (x, np.ones((24, 4), np.uint8)),
        "has labels of shape [24, 4], several classes for an image, must be [N]",
    ),
    "one-hot of another number": (lambda x, y: (x, np.eye(5)[y]), "has labels of shape [24, 5], must be [N], a class"),
    "masks": (lambda x, y: (x, x[..., 0]), "has labels of shape [24, 6, 5], must be [N], a class for each image"),
    "16-bit PIL": (
        lambda x, y: ([Image.fromarray(x[0, ..., 0].astype(np.uint16))] * 24, y),
        "has images that are PIL images of which one cannot be used (its mode is I;16",
    ),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_used_is_refused_in_one_line(change: Change, says: str) -> None:
    with pytest.raises(InputError) as caught:
        taken(change)
    assert str(caught.value).startswith(f"name = mine:Own: its training set {says}"), str(caught.value)
    assert "\n" not in str(caught.value)


FACT: dict[str, tuple[Any, str]] = {
    "none": (None, "its spec is NoneType, must be ImageSpec(classes, shape, mean, std), or Spec"),
    "classes": (replace(SPEC, classes=0), "ImageSpec.classes = 0 must be a whole number, at least 1"),
    "half a class": (replace(SPEC, classes=2.5), "ImageSpec.classes = 2.5 must be whole numbers"),  # type: ignore[arg-type]
    "no channels": (replace(SPEC, shape=(6, 5)), "ImageSpec.shape = (6, 5) must be (H, W, C)"),  # type: ignore[arg-type]
    "channels first": (
        replace(SPEC, shape=(3, 6, 5)),
        "ImageSpec.mean = (0.4, 0.5, 0.45) must have a number for each channel; ImageSpec.shape = (3, 6, 5), wi",
    ),
    "one mean": (
        replace(SPEC, mean=(0.5,)),
        "ImageSpec.mean = (0.5,) must have a number for each channel; ImageSpec.shape =",
    ),
    "two deviations": (replace(SPEC, std=(0.5, 0.5)), "ImageSpec.std = (0.5, 0.5) must have a number for each channel"),
    "deviation 0": (
        replace(SPEC, std=(0.5, 0.0, 0.5)),
        "ImageSpec.std = (0.5, 0.0, 0.5) must be that of pixels / 255",
    ),
    "deviation below 0": (
        replace(SPEC, std=(0.5, 0.5, -0.5)),
        "ImageSpec.std = (0.5, 0.5, -0.5) must be that of pixels",
    ),
    "NaN": (replace(SPEC, mean=(0.5, float("nan"), 0.5)), "ImageSpec.mean = (0.5, nan, 0.5) must be finite numbers"),
    "mean of bytes": (
        replace(SPEC, mean=(125.0,) * 3),
        "ImageSpec.mean = (125.0, 125.0, 125.0) must be that of pixels",
    ),
    "deviation of bytes": (
        replace(SPEC, std=(63.0,) * 3),
        "ImageSpec.std = (63.0, 63.0, 63.0) must be that of pix",
    ),
    "scale 0": (replace(SPEC, scale=0.0), "ImageSpec.scale = 0.0 must be the pixel that is white, above 0"),
    "scale 1": (
        replace(SPEC, scale=1.0),
        "its training set has the pixel 255, but 1 is white (ImageSpec.scale); set the",
    ),
}


@pytest.mark.parametrize(("spec", "says"), FACT.values(), ids=list(FACT))
def test_facts_that_do_not_fit_are_refused(spec: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        taken(lambda x, y: (x, y), spec)
    assert str(caught.value).startswith(f"name = mine:Own: {says}"), str(caught.value)


def test_a_mean_in_bytes_with_a_small_scale_is_looked_at_beside_the_pixels() -> None:
    spec = replace(SPEC, mean=(8.0,) * 3, scale=16.0)
    with pytest.raises(InputError, match=r"ImageSpec.mean = \(8.0, 8.0, 8.0\) must be the mean of pixels / 16"):
        taken(lambda x, y: (x // 16, y), spec)


# through a run


class Mine(Partitioned):
    clients: int = 4
    change: str = "floats from 0 to 1"
    no_test: bool = False

    def read(self) -> Any:
        change = {**CERTAIN, **{name: one for name, (one, _) in REFUSED.items()}}[self.change]
        images, labels = arrays()
        test = Split(images[:0], labels[:0]) if self.no_test else Split(*change(images, labels))
        return SPEC, Split(*change(images, labels)), test


def described(data: Dataset) -> Run:
    keys: dict[str, Any] = {"data": data, "rounds": 2, "cohort": 2, "evaluate_every": 1, "engine.name": "loop"}
    return Run.from_keys(keys)


def test_a_run_on_what_was_converted_has_the_bits_of_a_run_on_what_is_right() -> None:
    digests = {simulate(described(Mine(change=name, partition="iid"))).digest for name in list(CERTAIN)[::5]}
    assert len(digests) == 1


def test_the_line_names_data_set_and_split() -> None:
    with pytest.raises(
        InputError, match=r"^data.name = tests.data.test_image_intake:Mine: its training set has 24 images and 1"
    ):
        simulate(described(Mine(change="surplus images")))
    with pytest.raises(InputError, match=r"^data.name = tests.data.test_image_intake:Mine: its test set is empty"):
        simulate(described(Mine(no_test=True)))
    held_out = Mine(no_test=True, partition="iid", validation=0.3)
    assert len(federation_of(held_out, 0).test) > 0, "for tuning the test set is out of reach"


class Odd(Partitioned):
    what: str = "pair"

    def read(self) -> Any:
        if self.what == "pair":
            return SPEC, Split(*arrays())
        raise FileNotFoundError(2, "No such file or directory", "scans.npz")


def test_a_reader_that_breaks_off_is_named() -> None:
    with pytest.raises(InputError, match=r"^data.name = .*:Odd: its read\(\) gave tuple, must be Spec, training"):
        simulate(described(Odd()))
    with pytest.raises(RunError, match=r"^data.name = .*:Odd: loading it raised FileNotFoundError: .* 'scans.npz'$"):
        simulate(described(Odd(what="file")))


class Wild(Partition):
    position: float = 24.0

    def assign(self, labels: np.ndarray, clients: int, *rest: Any) -> Assignment:
        index = np.arange(len(labels), dtype=np.float64 if self.position % 1 else np.int64)
        index[-1] = self.position
        return Assignment(index[: 0 if self.position == 5 else None], np.arange(clients + 1) * (self.position != 5))


@pytest.mark.parametrize(
    ("position", "says"),
    [
        (24, "gives a client the position 24; there are 24"),
        (-1, "the position -1"),
        (0.5, "float64"),
        (5, "no client"),
    ],
)
def test_a_partition_of_ones_own_is_looked_at(position: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Mine(partition=Wild(position=position), clients=4).load(0)
