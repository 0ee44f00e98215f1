"""Attacks: what all that are discovered must be.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam.attack.base import Attack
from fedsam.config import find
from fedsam.rng import stream
from tests.support.discovered import found

ATTACK: Any = Attack
ATTACKS = found(ATTACK)
SHAPE = (6, 4, 5, 3)
MEAN_C, STD_C = torch.tensor([0.4, 0.5, 0.6]).double(), torch.tensor([0.2, 0.3, 0.25]).double()
PIXELS = torch.from_numpy(stream(0, "pixels").random((SHAPE[0], SHAPE[3], *SHAPE[1:3])))
INPUTS_BCHW = (PIXELS - MEAN_C.view(-1, 1, 1)) / STD_C.view(-1, 1, 1)
WEIGHTS = torch.from_numpy(stream(1, "weights").standard_normal(PIXELS.shape))


def loss(inputs: Tensor) -> Tensor:
    """Of each image by itself; convex, so that every step along the slope raises it."""
    return (WEIGHTS[: len(inputs)] * inputs).sum(dim=(-3, -2, -1)).exp().log1p()


def slope(inputs: Tensor) -> Tensor:
    leaf = inputs.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def counted(calls: list[int]) -> Callable[[Tensor], Tensor]:
    def gradient(inputs: Tensor) -> Tensor:
        calls.append(1)
        return slope(inputs)

    return gradient


def started(attack: Any, seed: int = 0) -> Tensor:
    return torch.from_numpy(attack.start(stream(seed, "attack"), SHAPE)).permute(0, 3, 1, 2).double()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("random_start", [False, True])
def test_pixels_stay_pixels_and_losses_do_not_fall(name: str, random_start: bool) -> None:
    attack, calls = find(ATTACK, name)(), list[int]()
    start = started(attack) if random_start else None
    given = INPUTS_BCHW.clone()
    after = attack.changed(given, MEAN_C, STD_C, counted(calls), start)
    assert torch.equal(given, INPUTS_BCHW)
    assert (after.shape, after.dtype) == (given.shape, given.dtype)
    pixels = after * STD_C.view(-1, 1, 1) + MEAN_C.view(-1, 1, 1)
    assert pixels.min() >= -1e-12
    assert pixels.max() <= 1 + 1e-12
    assert (loss(after) >= loss(INPUTS_BCHW)).all()
    assert len(calls) == attack.passes
    assert torch.equal(after, INPUTS_BCHW) == (attack.passes == 0)


@pytest.mark.parametrize("name", ATTACKS)
def test_images_are_changed_each_by_itself(name: str) -> None:
    attack = find(ATTACK, name)()
    start = started(attack)
    together = attack.changed(INPUTS_BCHW, MEAN_C, STD_C, slope, start)
    one = attack.changed(INPUTS_BCHW[:1], MEAN_C, STD_C, slope, start[:1])
    torch.testing.assert_close(together[:1], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_block_of_clients_is_its_clients(name: str) -> None:
    attack = find(ATTACK, name)()
    blocks = torch.stack([INPUTS_BCHW, INPUTS_BCHW.flip(0)])

    def of_one(inputs: Tensor) -> Tensor:
        changed: Tensor = attack.changed(inputs, MEAN_C, STD_C, lambda x: WEIGHTS * (1 + 0 * x), None)
        return changed

    together = torch.func.vmap(of_one)(blocks)
    for row, inputs in zip(together, blocks, strict=True):
        torch.testing.assert_close(row, of_one(inputs), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ATTACKS)
def test_starts_are_keyed_and_in_the_cube_around_the_ball(name: str) -> None:
    attack = find(ATTACK, name)()
    first = attack.start(stream(3, "attack"), (2, *SHAPE))
    assert first.shape == (2, *SHAPE)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1
    assert np.array_equal(first, attack.start(stream(3, "attack"), (2, *SHAPE)))
    assert np.array_equal(first, attack.start(stream(4, "attack"), (2, *SHAPE))) == (attack.passes == 0)
