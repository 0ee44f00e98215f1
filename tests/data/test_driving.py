"""Street scenes in the folders of Cityscapes and IDDA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

import fedsam
from fedsam import InputError, Run
from fedsam.data.cityscapes import Cityscapes
from fedsam.data.idda import Idda
from fedsam.data.images.driving import Driving
from fedsam.data.stored import StoredFederation
from tests.support.image_files import write_image

CITIES = {"train": {"aachen": 3, "ulm": 2}, "val": {"lindau": 2}}
DOMAINS = {"T01_CN_A": 5, "T01_HR_A": 5, "T02_CN_B": 10}
EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(16, 16)
ROAD, BICYCLE, NONE = 0, 18, 255


def write_bytes(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cityscapes(root: Path, ending: str = "labelIds") -> None:
    """Images whose masks have every byte, turned by the number of the image."""
    number = 0
    for part, cities in CITIES.items():
        for city, images in cities.items():
            for n in range(images):
                stem = f"{part}/{city}/{city}_{n:06}_000019"
                write_image(root / f"leftImg8bit/{stem}_leftImg8bit.png", number, (16, 16))
                write_bytes(root / f"gtFine/{stem}_gtFine_{ending}.png", np.roll(EVERY_BYTE, number))
                number += 1


def idda(root: Path) -> None:
    number = 0
    for domain, images in DOMAINS.items():
        for n in range(images):
            write_image(root / f"{domain}/RGB/{n}_{domain}.jpg", number, (16, 16))
            write_bytes(root / f"{domain}/Semantic/{n}_{domain}.png", np.roll(EVERY_BYTE, number))
            number += 1


def load(kind: type[Driving], root: Path, **keys: Any) -> StoredFederation:
    found = kind(root=str(root), **{"size": "", **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


def refused(kind: type[Driving], root: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as error:
        load(kind, root, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def pixelwise() -> nn.Module:
    return nn.Conv2d(3, 19, 1)


def test_a_city_is_a_client_and_those_of_val_are_the_test_set(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    federation = load(Cityscapes, tmp_path)
    assert (federation.spec.classes, federation.spec.groups) == (19, ("aachen", "lindau", "ulm"))
    assert federation.groups_of(range(2)) == [["aachen"], ["ulm"]]
    assert federation.sizes(range(2)).tolist() == [3, 2]
    assert len(federation.test) == 2


def test_bytes_become_classes_and_all_others_none(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    known = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]  # of the benchmark
    classes = np.array([known.index(byte) if byte in known else NONE for byte in range(256)])
    federation = load(Cityscapes, tmp_path)
    for n, mask in enumerate(federation.train.targets):
        assert np.array_equal(mask, classes[np.roll(EVERY_BYTE, n)])
    names = federation.spec.names
    assert (names[ROAD], names[BICYCLE], names[classes[26]]) == ("road", "bicycle", "car")


def test_files_of_training_classes_are_as_they_are(tmp_path: Path) -> None:
    cityscapes(tmp_path, "labelTrainIds")
    classes = np.where(EVERY_BYTE < 19, EVERY_BYTE, NONE)
    federation = load(Cityscapes, tmp_path)
    for n, mask in enumerate(federation.train.targets):
        assert np.array_equal(mask, np.roll(classes, n))
    path = tmp_path / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelTrainIds.png"
    path.rename(str(path).replace("labelTrainIds", "labelIds"))
    assert "ulm_000001_000019_gtFine_labelIds.png is of another kind" in refused(Cityscapes, tmp_path)


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_cities_are_trained_on_at_another_size(tmp_path: Path, memory: float) -> None:
    cityscapes(tmp_path)
    data = Cityscapes(root=str(tmp_path), size="8x10", memory=memory, disk=0.0, unseen="ulm")
    run = Run(data=data, model="tests.data.test_driving:pixelwise", cohort=1, rounds=1)
    result = fedsam.simulate(run)
    assert {"test_miou", "unseen_miou"} <= set(result.metrics[-1])


def test_bad_folders_of_cities_are_named(tmp_path: Path) -> None:
    assert "there is no folder leftImg8bit/train/" in refused(Cityscapes, tmp_path)
    cityscapes(tmp_path)
    mask = tmp_path / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
    write_bytes(mask, EVERY_BYTE[:8])
    assert "ulm_000001_000019_gtFine_labelIds.png is 8 x 16 (height x width), its image is 16 x 16" in refused(
        Cityscapes, tmp_path
    )
    mask.unlink()
    assert "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png is not there" in refused(Cityscapes, tmp_path)
    (tmp_path / "leftImg8bit/train/bonn").mkdir()
    assert "no image *_leftImg8bit.png in leftImg8bit/train/bonn/" in refused(Cityscapes, tmp_path)


def users(root: Path, **users: list[str]) -> None:
    """FedDrive's files: users of training and of test, with the stems of their images."""
    for part in ("train", "test"):
        own = {user: stems for user, stems in users.items() if user.startswith("test") == (part == "test")}
        data = {
            user: {
                "x": [f"{stem}_leftImg8bit.png" for stem in stems],
                "y": [f"{stem}_gtFine_labelIds.png" for stem in stems],
            }
            for user, stems in own.items()
        }
        (root / part).mkdir(parents=True)
        numbers = [len(stems) for stems in own.values()]
        text = json.dumps({"users": list(own), "num_samples": numbers, "user_data": data})
        (root / part / "all_data_0.json").write_text(text)


def test_users_of_feddrive_are_clients(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    stems = [f"train/aachen/aachen_{n:06}_000019" for n in range(3)]
    own = {"aachen0": [stems[2]], "aachen1": stems[:2], "test": ["val/lindau/lindau_000001_000019"]}
    users(tmp_path / "heterogeneous", **own)
    federation, whole = load(Cityscapes, tmp_path, users="heterogeneous"), load(Cityscapes, tmp_path)
    assert federation.groups_of(range(2)) == [["aachen0"], ["aachen1"]]
    store, (one, two) = federation.examples(range(2))
    assert np.array_equal(store.inputs[one], whole.train.inputs[[2]])
    assert np.array_equal(store.targets[two], whole.train.targets[[0, 1]])
    assert np.array_equal(federation.test.inputs, whole.test.inputs[[1]])
    path = tmp_path / "heterogeneous/train/all_data_0.json"
    path.write_text(path.read_text().replace(f'"{stems[0]}_leftImg8bit.png", ', ""))
    told = "train/all_data_0.json: user 'aachen1' has 1 x and 2 y, and num_samples says 2"
    assert told in refused(Cityscapes, tmp_path, users="heterogeneous")
    users(tmp_path / "other", **{**own, "aachen0": []})
    assert "train/all_data_0.json: user 'aachen0' has no examples" in refused(Cityscapes, tmp_path, users="other")


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    write_bytes(tmp_path / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png", EVERY_BYTE[:, :8])
    told = "ulm_000001_000019_gtFine_labelIds.png is 16 x 8 (height x width), its image is 16 x 16"
    for size in ("", "512x1024"):
        assert told in refused(Cityscapes, tmp_path, size=size)


def test_a_domain_is_a_client_or_a_weather_is(tmp_path: Path) -> None:
    idda(tmp_path)
    federation = load(Idda, tmp_path)
    assert federation.groups_of(range(3)) == [["T01_CN_A"], ["T01_HR_A"], ["T02_CN_B"]]
    assert federation.sizes(range(3)).tolist() == [4, 4, 8]
    assert federation.test.groups is not None
    assert federation.test.groups.tolist() == [0, 1, 2, 2]
    assert np.array_equal(Idda(root=str(tmp_path), size="").load(1).test.inputs, federation.test.inputs)
    weather = load(Idda, tmp_path, group="weather", unseen="HR")
    assert weather.groups_of([0]) == [["CN"]]
    assert len(weather.further["unseen"]) == 5
    assert load(Idda, tmp_path, group="town").spec.groups == ("T01", "T02")
    assert load(Idda, tmp_path, group="car").spec.groups == ("A", "B")


def test_bytes_of_idda_become_the_classes_of_feddrive(tmp_path: Path) -> None:
    idda(tmp_path)
    of_byte = [255, 2, 4, 255, 11, 5, 0, 0, 1, 8, 13, 3, 7, 6, 255, 255, 15, 14, 12, 9, 10] + [255] * 235
    federation = load(Idda, tmp_path)
    every = [*federation.train.targets, *federation.test.targets]
    expected = {np.roll(np.array(of_byte, np.uint8).reshape(16, 16), n).tobytes() for n in range(20)}
    assert {mask.tobytes() for mask in every} == expected
    assert (federation.spec.classes, federation.spec.names[13]) == (16, "car")


def test_bad_folders_of_domains_are_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert "there is no folder TOWN_WEATHER_CAR" in refused(Idda, tmp_path)
    (tmp_path / "T01_CN_A").mkdir()
    assert "there is no image in T01_CN_A/RGB/" in refused(Idda, tmp_path)
