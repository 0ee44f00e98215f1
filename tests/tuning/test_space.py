"""The space that is tuned over: ranges, choices, grids, and what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("optuna")

from fedsam import InputError
from fedsam.tuning.space import Choices, Range, space_of

SPACE = {"client.name": "sgd,sam", "client.rho": "log:1e-3..1", "client.lr": "log:1e-3..0.3", "client.epochs": "1..4"}


def test_a_space_is_read_from_keys() -> None:
    space = space_of({**SPACE, "cohort": "4", "data.root": "../x"} | {"data.name": "mnist"})
    assert space.fixed == {"cohort": "4", "data.root": "../x", "data.name": "mnist"}
    assert space.dimensions == (
        Choices("client.name", ("sgd", "sam")),
        Range("client.rho", 0.001, 1.0, log=True),
        Range("client.lr", 0.001, 0.3, log=True),
        Range("client.epochs", 1, 4, whole=True),
    )
    (decay,) = space_of({"client.weight_decay": "0..1"}).dimensions
    assert decay == Range("client.weight_decay", 0, 1)  # the key takes fractions, whole as the ends may be


def test_a_grid_has_the_points_of_its_ranges() -> None:
    assert space_of({"client.lr": "log:1e-3..1/4"}).points() == [{"client.lr": v} for v in (0.001, 0.01, 0.1, 1.0)]
    assert Range("x", 0, 1).points() == (0, 0.25, 0.5, 0.75, 1)
    assert Range("x", 1, 3, whole=True, count=9).points() == (1, 2, 3)
    points = space_of({"client.name": "sgd,sam", "client.rho": "0.1..0.3/3", "client.epochs": "1,2"}).points()
    expected: list[Any] = [{"client.name": "sgd", "client.epochs": e} for e in ("1", "2")]  # once, not for each rho
    expected += [
        {"client.name": "sam", "client.epochs": e, "client.rho": r} for e in ("1", "2") for r in (0.1, 0.2, 0.3)
    ]
    assert points == expected
    for point in points:
        assert ("client.rho" in point) == (point["client.name"] == "sam")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"client.lr": "log:0..1"}, r"client\.lr = log:0\.\.1: there is no logarithm of 0"),
        ({"client.lr": "0.3..0.1"}, r"client\.lr = 0\.3\.\.0\.1: is empty: 0\.3 is not below 0\.1"),
        ({"client.lr": "0.1..0.1"}, r"is empty"),
        ({"client.lr": "log:a..b"}, r"client\.lr = log:a\.\.b: must be a\.\.b or log:a\.\.b"),
        ({"client.lr": "0.1..nan"}, r"must be a\.\.b"),
        ({"client.lr": "0.1..1/1"}, r"at least 2 points"),
        ({"client.rho": "0.1..1"}, r"client\.rho = 0\.1: no such key here"),
        ({"client.name": "sgd", "client.rho": "0.1,1"}, r"client\.rho = 0\.1: no such key here"),
        ({"client.name": "sgd,sam", "client.what": "3", "client.lr": "0.1..1"}, r"client\.what = 3: no such key here"),
        ({"client.lr": "-1..1"}, r"client\.lr = -1: must be greater than 0"),
        ({"client.momentum": "0.5..1.5"}, r"client\.momentum = 1\.5: must be less than 1"),
        ({"client.epochs": "0.5..2"}, r"client\.epochs = 0\.5: must be a whole number"),
        ({"client.lr": "0.1,,1"}, r"one of its values is empty"),
        ({"client.lr": "0.1"}, r"there is nothing to tune"),
        ({"seed": "0..5"}, r"seed = 0\.\.5: cannot be searched: it must be the same in every trial"),
        ({"data.alpha": "0..5"}, r"data\.alpha = 0\.\.5: cannot be searched: every trial has the same data"),
        ({"task.name": "auto,classification"}, r"task\.name = auto,classification: cannot be searched: it must be the"),
        ({"engine.name": "loop,cohort"}, r"engine\.name = loop,cohort: cannot be searched"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_line(keys: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        space_of(keys)


def test_augmentations_can_be_searched() -> None:
    space = space_of({"data.augment": "none,cutout", "data.cutout_size": "2..4"})
    assert [d.key for d in space.dimensions] == ["data.augment", "data.cutout_size"]
