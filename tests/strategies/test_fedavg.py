"""FedAvg against a weighted mean taken number by number.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedsam.errors import InputError
from fedsam.schedule.base import Clock
from strategies.fedavg import FedAvg
from tests.oracles import fedavg as oracle

NOW = Clock(3, 10)


def federation(clients: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The model sent, the clients' models and their numbers of examples (unequal)."""
    rng = torch.Generator().manual_seed(seed)
    theta_P = torch.randn(5, generator=rng, dtype=torch.float64)
    client_KP = theta_P + torch.randn(clients, 5, generator=rng, dtype=torch.float64)
    return theta_P, client_KP, torch.randint(1, 500, (clients,), generator=rng)


def blocks(client_KP: Tensor, n_K: Tensor, theta_P: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    weight_K = n_K / n_K.sum(dtype=torch.float64)
    for first in range(0, len(n_K), size):
        yield client_KP[first : first + size] - theta_P, weight_K[first : first + size]


def next_model(strategy: FedAvg, client_KP: Tensor, n_K: Tensor, theta_P: Tensor, size: int) -> Tensor:
    delta_P = strategy.aggregate(blocks(client_KP, n_K, theta_P, size), theta_P)
    return strategy.update(theta_P, delta_P, strategy.init(theta_P), NOW)[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 13), st.floats(0.01, 3.0), st.integers(0, 50), st.randoms())
def test_the_weighted_mean_in_any_order_and_any_blocks(
    clients: int, size: int, lr: float, seed: int, random: Any
) -> None:
    theta_P, client_KP, n_K = federation(clients, seed)
    expected = torch.tensor(oracle.average(client_KP.tolist(), n_K.tolist(), theta_P.tolist(), lr), dtype=torch.float64)
    order = list(range(clients))
    random.shuffle(order)
    found_P = next_model(FedAvg(lr=lr), client_KP[order], n_K[order], theta_P, size)
    torch.testing.assert_close(found_P, expected, rtol=1e-12, atol=1e-12)


def test_one_client_returns_that_client() -> None:
    theta_P, client_KP, n_K = federation(1, 0)
    torch.testing.assert_close(next_model(FedAvg(), client_KP, n_K, theta_P, 1), client_KP[0], rtol=1e-14, atol=1e-14)


def test_by_hand() -> None:
    theta_P = torch.tensor([1.0, 10.0])
    client_KP = torch.tensor([[2.0, 10.0], [5.0, 2.0]])
    n_K = torch.tensor([30, 10])
    found_P = next_model(FedAvg(lr=0.5), client_KP.double(), n_K, theta_P.double(), 2)
    assert found_P.tolist() == pytest.approx([1.875, 9.0])  # mean change (1.75, -2), halved


def test_the_default_server_learning_rate_is_one() -> None:
    assert FedAvg().lr == 1.0
    theta_P, client_KP, n_K = federation(4, 2)
    mean_P = (client_KP * n_K[:, None]).sum(0) / n_K.sum()
    torch.testing.assert_close(next_model(FedAvg(), client_KP, n_K, theta_P, 3), mean_P, rtol=1e-12, atol=1e-12)


def test_nothing_given_is_changed() -> None:
    theta_P, client_KP, n_K = federation(4, 1)
    given_blocks = list(blocks(client_KP, n_K, theta_P, 3))
    copies = [(delta.clone(), weight.clone()) for delta, weight in given_blocks]
    was_P, strategy = theta_P.clone(), FedAvg(lr=0.5)
    delta_P = strategy.aggregate(iter(given_blocks), theta_P)
    kept_P, state = delta_P.clone(), strategy.init(theta_P)
    new_P, _ = strategy.update(theta_P, delta_P, state, NOW)
    assert torch.equal(theta_P, was_P)
    assert torch.equal(delta_P, kept_P)
    assert not torch.equal(new_P, theta_P)
    assert state == strategy.init(theta_P)
    for (delta, weight), (old_delta, old_weight) in zip(given_blocks, copies, strict=True):
        assert torch.equal(delta, old_delta)
        assert torch.equal(weight, old_weight)


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_server_learning_rate_is_refused(lr: float) -> None:
    with pytest.raises(InputError, match="lr"):
        FedAvg(lr=lr)
