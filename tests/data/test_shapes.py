"""Drawn shapes: what a mask says is what its image shows."""

from __future__ import annotations

import numpy as np
import pytest

from fedsam import Run, simulate
from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.shapes import CLASSES, DOMAINS, FORMS, SHADE, Shapes


@pytest.fixture(scope="module")
def drawn() -> tuple[ImageSpec, Split, Split]:
    return Shapes().read()


def test_each_domain_has_its_images_and_shows_every_class(drawn: tuple[ImageSpec, Split, Split]) -> None:
    spec, train, test = drawn
    assert spec.groups == tuple(DOMAINS)
    assert len(spec.groups) == 8
    for split, each in ((train, 100), (test, 40)):
        assert split.groups is not None
        assert np.bincount(split.groups).tolist() == [each] * 8
        for domain in range(8):
            assert set(np.unique(split.targets[split.groups == domain])) == {*range(len(CLASSES)), 255}
    assert not (train.inputs[:40] == test.inputs[:40]).all(axis=(1, 2, 3)).any()
    np.testing.assert_allclose(spec.mean, train.inputs.mean(axis=(0, 1, 2)) / 255, rtol=1e-9)
    np.testing.assert_allclose(spec.std, train.inputs.std(axis=(0, 1, 2)) / 255, rtol=1e-9)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_labelled_pixel_has_the_colour_of_its_class_in_its_domain(name: str) -> None:
    _, train, _ = Shapes(hint=1.0).read()
    domain = DOMAINS[name]
    assert train.groups is not None
    own = train.groups == list(DOMAINS).index(name)
    pixels, labels = train.inputs[own] / 255, train.targets[own]
    for label, colour in enumerate((domain.ground, *domain.colours)):
        spread = domain.relief if label == 0 else 2 * SHADE  # its shade and its texture
        apart = np.abs(pixels[labels == label] - np.asarray(colour))
        assert (apart < spread + 5.5 * domain.noise).all()


@pytest.mark.parametrize("hint", [0.0, 0.5, 1.0])
def test_a_colour_tells_the_class_as_often_as_was_asked_for(hint: float) -> None:
    _, train, _ = Shapes(hint=hint, domain_samples=100).read()
    pixels, labels = train.inputs[:100] / 255, train.targets[:100]  # of the first domain, which is plain
    right = []
    for image, mask in zip(pixels, labels, strict=True):
        for label in set(np.unique(mask)) - {0, 255}:
            own = image[mask == label].mean(axis=0)
            right.append(np.abs(np.array(DOMAINS["paper"].colours) - own).sum(axis=1).argmin() == label - 1)
    expected = hint + (1 - hint) / len(FORMS)
    assert np.mean(right) == pytest.approx(expected, abs=0.1)


def test_pixels_without_label_are_where_classes_meet(drawn: tuple[ImageSpec, Split, Split]) -> None:
    _, train, _ = drawn
    masks = train.targets.astype(int)
    for one, other in ((masks[:, :-1], masks[:, 1:]), (masks[:, :, :-1], masks[:, :, 1:])):
        assert not ((one != other) & (one != 255) & (other != 255)).any()
    assert 0.02 < (masks == 255).mean() < 0.15


def test_forms_have_their_areas() -> None:
    y, x = np.mgrid[-1:1:1001j, -1:1:1001j]
    areas = [4 * inside(x, y).mean() for inside in FORMS]
    triangle = 3 * np.sqrt(3) / 4  # in a circle of radius 1
    assert areas == pytest.approx([np.pi, 1.7**2, triangle, 2 * 0.6 * 1.9 - 0.36], rel=0.01)


def test_they_depend_on_their_own_keys_alone() -> None:
    one, other = (Shapes(size=16, domain_samples=3, domain_test_samples=2, clients=k).load(k) for k in (8, 9))
    assert np.array_equal(one.test.inputs, other.test.inputs)
    assert one.test.inputs.shape == (16, 16, 16, 3)


def test_a_network_learns_them() -> None:
    keys = {"data.name": "shapes", "data.clients": 4, "data.partition": "iid", "data.domain_samples": 32}
    keys |= {"model.name": "unet", "model.width": 8, "model.depth": 1, "rounds": 12, "evaluate_every": 6, "cohort": 4}
    keys |= {"client.lr": 0.3, "client.momentum": 0.9, "client.batch_size": 8, "engine.threads": 1}
    first, last = simulate(Run.from_keys(keys)).metrics
    assert last["test_miou"] > first["test_miou"] > 1 / len(CLASSES)
    assert last["test_loss"] < first["test_loss"] < np.log(len(CLASSES))
