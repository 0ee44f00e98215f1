"""Data sets of one's own: each odd form is taken as what it must mean, to the same bits, or refused in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedsam import InputError, RunError, simulate
from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intakes import intake_of
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.stored import Partitioned
from fedsam.data.validation import federation_of
from tests.support.image_forms import CERTAIN, GREY, REFUSED, SPEC, Change, arrays, described


def taken(change: Change, spec: Any = SPEC, name: str = "mine:Own") -> tuple[ImageSpec, Split]:
    images, labels = arrays(1 if spec is GREY else 3)
    intake = intake_of(name, spec)
    given = change(images, labels)
    split = intake.split(Split(*given) if isinstance(given, tuple) and len(given) == 2 else given, "training")
    return intake.spec, split


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
