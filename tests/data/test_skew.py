"""Feature skew: each client's images are changed as its traits say, the same on every engine, and nothing else is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run, resume, simulate
from fedsam.config import find
from fedsam.data.digits import Digits
from fedsam.data.partition.base import Assignment
from fedsam.data.skew.base import Skew
from fedsam.data.skew.feature import Feature, rotated
from fedsam.data.synthetic import Synthetic
from fedsam.errors import Interrupted
from fedsam.rng import stream
from tests.support.discovered import OTHERS, SLOWEST, found
from tests.support.interrupted import StopAt, outcome

SKEW: Any = Skew
SKEWS = found(SKEW)
ALL: dict[str, Any] = {"skew_rotation": 60.0, "skew_colour": 0.4, "skew_noise": 0.3}
SMALL = {"rounds": 2, "cohort": 3, "data.clients": 6, "model.width": 4, "engine.threads": 1, "client.epochs": 1}


def slowly_rotated(image: list[list[float]], degrees: float) -> list[list[float]]:
    """Pixel by pixel: turn its place back by the angle, and mix the four pixels around it; 0 outside."""
    height, width, a = len(image), len(image[0]), math.radians(degrees)
    found = [[0.0] * width for _ in image]
    for row in range(height):
        for column in range(width):
            up, right = (height - 1) / 2 - row, column - (width - 1) / 2
            was_right, was_up = right * math.cos(a) + up * math.sin(a), up * math.cos(a) - right * math.sin(a)
            y, x = (height - 1) / 2 - was_up, was_right + (width - 1) / 2
            for near_y in range(height):
                for near_x in range(width):
                    share = max(0.0, 1 - abs(y - near_y)) * max(0.0, 1 - abs(x - near_x))
                    found[row][column] += share * image[near_y][near_x]
    return found


@pytest.mark.parametrize("degrees", [0.0, 17.0, -30.0, 90.0, 133.7, -180.0])
@pytest.mark.parametrize("shape", [(5, 5), (4, 7)])
def test_rotation_is_its_definition(degrees: float, shape: tuple[int, int]) -> None:
    images = stream(0, "images").random((3, *shape, 2))
    found = rotated(images, degrees)
    for n in range(3):
        for c in range(2):
            expected = slowly_rotated(images[n, :, :, c].tolist(), degrees)
            np.testing.assert_allclose(found[n, :, :, c], expected, atol=1e-7)


def test_a_quarter_turn_is_counter_clockwise_and_exact() -> None:
    images = stream(0, "images").random((2, 6, 6, 3)).astype(np.float32)
    assert np.array_equal(rotated(images, 90.0), np.rot90(images, axes=(1, 2)))


@pytest.mark.parametrize("scale", [255.0, 16.0])
def test_colour_and_noise_are_their_formulas(scale: float) -> None:
    images = stream(0, "images").integers(0, int(scale) + 1, (4, 3, 3, 2), dtype=np.uint8)
    traits: dict[str, Any] = {"rotation": 0.0, "noise": 0.1, "gain": [0.2, -0.3], "shift": [-0.1, 0.4]}
    found = Feature(**ALL).changed(images, traits, scale, stream(0, "noise"))
    noise = stream(0, "noise").standard_normal(images.shape, dtype=np.float32)
    for place in np.ndindex(images.shape):
        c = place[3]
        level = images[place] * (1 + traits["gain"][c]) + scale * (traits["shift"][c] + 0.1 * float(noise[place]))
        assert abs(int(found[place]) - min(max(level, 0.0), scale)) <= 0.5001, place
    assert found.dtype == np.uint8


def test_traits_are_uniform_and_keyed_by_client() -> None:
    feature = Feature(**ALL)
    table = feature.table(3, range(2000), 2)
    for name, ends in {"rotation": (-60, 60), "noise": (0, 0.3), "gain": (-0.4, 0.4), "shift": (-0.4, 0.4)}.items():
        values = np.array(table[name])
        assert ends[0] <= values.min() < values.max() <= ends[1]
        assert values.mean() == pytest.approx(sum(ends) / 2, abs=0.03 * (ends[1] - ends[0]))
        assert values.std() == pytest.approx((ends[1] - ends[0]) / math.sqrt(12), rel=0.05)
    assert feature.traits(3, 7, 2) == {name: values[7] for name, values in table.items()}
    assert feature.traits(4, 7, 2) != feature.traits(3, 7, 2)
    weaker = Feature(**{**ALL, "skew_rotation": 30.0}).traits(3, 7, 2)
    assert weaker["rotation"] == pytest.approx(table["rotation"][7] / 2)
    assert weaker["noise"] == table["noise"][7]


def test_a_clients_images_change_by_its_traits_and_the_test_set_does_not() -> None:
    plain, skewed = Digits(clients=8).load(5), Digits(clients=8, skew="feature", **ALL).load(5)
    assert np.array_equal(plain.test.inputs, skewed.test.inputs)
    before, own = plain.examples(range(8))
    after, same = skewed.examples(range(8))
    assert all(np.array_equal(a, b) for a, b in zip(own, same, strict=True))
    assert np.array_equal(before.targets, after.targets)
    assert skewed.examples([3])[0] is after
    feature, traits = Feature(**ALL), skewed.traits(range(8))
    for client, index in enumerate(own):
        mine = {name: values[client] for name, values in traits.items()}
        rng = stream(5, "skew images", client=client)
        expected = feature.changed(before.inputs[index], mine, 16.0, rng)
        assert np.array_equal(after.inputs[index], expected)
        assert not np.array_equal(after.inputs[index], before.inputs[index])
    assert after.inputs.max() == 16
    assert plain.traits(range(8)) == {}


def test_what_is_held_out_is_changed_as_what_is_trained_on() -> None:
    whole = Digits(clients=8, skew="feature", **ALL).load(5)
    split = Digits(clients=8, skew="feature", local_test=0.25, **ALL).load(5)
    assert np.array_equal(whole.examples([0])[0].inputs, split.examples([0])[0].inputs)
    assert split.local_test([0])[0] is split.examples([0])[0]


def test_synthetic_clients_are_changed_as_they_are_made() -> None:
    keys: dict[str, Any] = {"clients": 50, "channels": 3, "samples_per_client": 20}
    plain = Synthetic(**keys).load(2)
    skewed = Synthetic(skew="feature", **keys, **ALL).load(2)
    feature = Feature(**ALL)
    together, index = skewed.examples([4, 9])
    for row, client in enumerate((4, 9)):
        traits = feature.traits(2, client, 3)
        images = plain.examples([client])[0].inputs
        expected = feature.changed(images, traits, 255.0, stream(2, "skew images", client=client))
        assert np.array_equal(together.inputs[index[row]], expected)
        assert {name: values[row] for name, values in skewed.traits([4, 9]).items()} == traits
    assert np.array_equal(plain.test.inputs, skewed.test.inputs)


def test_strengths_of_zero_change_nothing() -> None:
    none = dict.fromkeys(ALL, 0.0)
    keys = {f"data.{name}": value for name, value in none.items()}
    plain, zero = (simulate(Run.from_keys({**SMALL, **own})) for own in ({}, {"data.skew": "feature", **keys}))
    assert plain.digest == zero.digest
    strong = simulate(Run.from_keys({**SMALL, "data.skew": "feature"}))
    assert strong.digest != plain.digest


@pytest.mark.parametrize("engine", OTHERS)
def test_every_engine_trains_on_the_same_images(engine: str) -> None:
    keys = {**SMALL, "data.skew": "feature", "engine.precision": "fp64", **{f"data.{k}": v for k, v in ALL.items()}}
    loop, other = (simulate(Run.from_keys({**keys, "engine.name": name})) for name in (SLOWEST, engine))
    assert loop.metrics[-1]["test_loss"] == pytest.approx(other.metrics[-1]["test_loss"], rel=1e-10)


def test_traits_are_written_down_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    keys = {**SMALL, "rounds": 4, "checkpoint_every": 1, "data.skew": "feature", "data.skew_noise": 0.2}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(Run.from_keys({**keys, "out": str(whole)}))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(Run.from_keys({**keys, "out": str(stopped)}), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
    written = json.loads((whole / "partition.json").read_text())["skew"]
    assert written == Feature(skew_noise=0.2).table(0, range(6), 1)
    simulate(Run.from_keys({**SMALL, "out": str(tmp_path / "plain")}))
    assert "skew" not in json.loads((tmp_path / "plain" / "partition.json").read_text())


# every skew that is discovered


@pytest.mark.parametrize("name", SKEWS)
def test_images_stay_bytes_and_the_given_ones_stay_as_they_are(name: str) -> None:
    skew, scale = find(SKEW, name)(), 16.0
    images = stream(0, "images").integers(17, size=(9, 6, 5, 3), dtype=np.uint8)
    before = images.copy()
    seen = [skew.client_images(images, 3, client, scale) for client in range(5)]
    assert np.array_equal(images, before)
    for each in seen:
        assert (each.dtype, each.shape) == (np.uint8, images.shape)
        assert each.max() <= scale
    again = [skew.client_images(images, 3, client, scale) for client in (4, 2)]
    assert np.array_equal(again[0], seen[4])
    assert np.array_equal(again[1], seen[2])
    changes = bool(skew.traits(3, 0, 3))
    assert (seen[0] is images) != changes
    assert np.array_equal(seen[0], seen[1]) != changes
    other = skew.client_images(images, 4, 0, scale)
    assert np.array_equal(seen[0], other) != changes


@pytest.mark.parametrize("name", SKEWS)
def test_traits_are_json_and_belong_to_seed_and_client(name: str) -> None:
    skew = find(SKEW, name)()
    each = [skew.traits(3, client, 3) for client in range(6)]
    assert json.loads(json.dumps(each)) == each
    assert each == [skew.traits(3, client, 3) for client in range(6)]
    table = skew.table(3, [5, 1], 3)
    assert table == {key: [each[5][key], each[1][key]] for key in each[0]}
    if each[0]:
        assert each[0] != each[1]
        assert each[0] != skew.traits(4, 0, 3)


@pytest.mark.parametrize("name", SKEWS)
def test_a_store_shows_each_image_as_its_client_sees_it(name: str) -> None:
    skew = find(SKEW, name)()
    images = stream(1, "images").integers(256, size=(8, 4, 4, 1), dtype=np.uint8)
    own = Assignment(np.array([0, 3, 6, 1, 2]), np.array([0, 3, 5]))
    store = skew.store(images, own, 3, 255.0)
    for client in range(own.clients):
        index = own.of_client(client)
        assert np.array_equal(store[index], skew.client_images(images[index], 3, client, 255.0))
    assert np.array_equal(store[[4, 5, 7]], images[[4, 5, 7]])  # nobody's


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.skew_rotation = 181: must be at most 180"):
        Run.from_keys({"data.skew": "feature", "data.skew_rotation": 181})
    with pytest.raises(InputError, match=r"data\.skew = featur: no such feature skew; did you mean 'feature'"):
        Run.from_keys({"data.skew": "featur"})
    with pytest.raises(InputError, match=r"data\.skew_noise = 1: no such key here"):
        Run.from_keys({"data.skew_noise": 1})
    shared = Assignment(np.array([0, 1, 1, 2]), np.array([0, 2, 4]))
    with pytest.raises(InputError, match=r"skew = feature: two clients share an image"):
        Feature().store(np.zeros((3, 2, 2, 1), dtype=np.uint8), shared, 0, 255.0)
