"""Orders and trained blocks: cut for some clients, and joined again, whichever fields they have."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from fedsam.engine.messages import Failure, Order, Trained

UPDATE_KP = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])
SHARES = [0.5, 0.2, 0.3]


def block(client: int) -> Trained:
    """One client that has something in every field."""
    own = UPDATE_KP[[client]]
    one = torch.tensor([float(client)])
    weight = torch.tensor([SHARES[client]])
    state = {"kept": own + 1}
    return Trained([client], own, weight, weight, one, -one, [], {"sent": 10 * own[0]}, state)


def nobody(client: int) -> Trained:
    """A block in which no client trained."""
    none = torch.zeros(0)
    return Trained([], torch.zeros(0, 2), none, none, none, none, [Failure(client, "no power")])


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("at", [None, 0, 1, 3])
def test_sums_of_blocks_are_the_sum_of_their_clients(each: bool, at: int | None) -> None:
    """Σ_k p_k delta_k, and what clients send and keep, wherever in the line a client failed."""
    blocks = [block(client) for client in range(3)]
    if at is not None:
        blocks.insert(at, nobody(9))
    total, *others = (one.sum(each) for one in blocks)
    for other in others:
        total = total.plus(other)
    assert total.ids == [0, 1, 2]
    assert [failure.client for failure in total.failed] == ([] if at is None else [9])
    expected_P = torch.tensor(SHARES) @ UPDATE_KP
    assert torch.allclose(total.weight_J[:, None] * total.update_JP, expected_P[None])
    assert torch.equal(total.uploads["sent"], 10 * UPDATE_KP.sum(dim=0))
    assert torch.equal(total.client_state["kept"], UPDATE_KP + 1)
    assert torch.equal(total.loss_K, torch.arange(3.0))
    assert torch.equal(total.check_K, -torch.arange(3.0))
    assert torch.equal(total.weight_K, torch.tensor(SHARES))
    assert torch.equal(total.rows, UPDATE_KP) if each else total.each_KP is None


def test_a_part_of_an_order_has_the_rows_of_its_clients() -> None:
    """Shares stay those in the whole round; what is the same for all clients stays the same object."""
    sent, kept = {"c": torch.ones(2)}, {"own": UPDATE_KP}
    order = Order(4, 0.1, [5, 6, 7], np.array(SHARES), True, sent, kept, np.array([3, 1, 2]), True)
    part = order.part([2, 0])
    assert part.ids == [7, 5]
    assert part.weight_K.tolist() == [0.3, 0.5]
    assert torch.equal(part.client_state["own"], UPDATE_KP[[2, 0]])
    assert part.steps_K is not None
    assert part.steps_K.tolist() == [2, 3]
    own = {"ids", "weight_K", "client_state", "steps_K"}
    for name in {field.name for field in fields(Order)} - own:
        assert getattr(part, name) is getattr(order, name)
    assert Order(0, 0.1, [1, 2], np.ones(2)).part([1]).steps_K is None
