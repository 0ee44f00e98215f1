"""SWA on the server against the released statements and the plain mean, round by round.

Shapes: P parameters.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedsam.errors import InputError
from fedsam.schedule.base import Clock
from strategies.averages.swa import SWA
from tests.oracles import swa as oracle

CAPTURES = ["cycle-end", "as-released"]


def models(rounds: int) -> tuple[list[Tensor], list[Tensor]]:
    """What each round sends and what it ends in; the next round sends something else again, so that the two differ."""
    rng = torch.Generator().manual_seed(rounds)
    drawn = torch.randn(2, rounds, 3, generator=rng, dtype=torch.float64)
    return list(drawn[0]), list(drawn[1])


def served(average: SWA, before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
    """What is served after each round."""
    state: dict[str, Tensor] = {}
    found = []
    for i, (sent_P, theta_P) in enumerate(zip(before, after, strict=True)):
        state = average.update(sent_P, theta_P, state, Clock(i, len(after)))
        found.append(average.served(theta_P, state))
    return found


def same(found: list[Tensor], expected: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-12, atol=1e-12)


# (rounds, start, cycle): c divides s in the first two, not in the third; the last has c = 1
@pytest.mark.parametrize(
    ("rounds", "start", "cycle", "capture", "captured"),
    [
        (16, 0.5, 4, "as-released", [12]),
        (16, 0.5, 4, "cycle-end", [11, 15]),
        (20, 0.25, 5, "as-released", [10, 15]),
        (20, 0.25, 5, "cycle-end", [9, 14, 19]),
        (18, 0.5, 4, "as-released", [13, 17]),
        (18, 0.5, 4, "cycle-end", [11, 15]),
        (8, 0.5, 1, "as-released", [5, 6, 7]),
        (8, 0.5, 1, "cycle-end", [4, 5, 6, 7]),
    ],
)
def test_rounds_captured_by_hand(rounds: int, start: float, cycle: int, capture: Any, captured: list[int]) -> None:
    s = int(start * rounds)
    before, after = models(rounds)
    found = served(SWA(start=start, cycle=cycle, capture=capture), before, after)
    for i in range(rounds):
        kept = [j for j in captured if j <= i]
        if kept:
            expected = torch.stack([after[j] for j in kept]).mean(0)
        elif capture == "as-released" and i >= s:
            expected = before[s]
        else:
            expected = after[i]
        torch.testing.assert_close(found[i], expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(0, 7), st.integers(1, 12), st.sampled_from(CAPTURES))
def test_every_round_equals_the_oracle(rounds: int, eighths: int, cycle: int, capture: Any) -> None:
    average = SWA(start=eighths / 8, cycle=cycle, capture=capture)
    s = int(eighths / 8 * rounds)
    before, after = models(rounds)
    expected = (
        oracle.as_released(before, after, s, cycle) if capture == "as-released" else oracle.cycle_end(after, s, cycle)
    )
    same(served(average, before, after), expected)
    for i in range(rounds):
        lr = average.replace(lr_end=0.003).lr(0.2, Clock(i, rounds))
        assert lr == pytest.approx(oracle.learning_rate(0.2, 0.003, i, s, cycle), rel=1e-12)
    if oracle.captures(rounds, s, cycle, capture):
        average.check(rounds)
    else:
        with pytest.raises(InputError) as raised:
            average.check(rounds)
        assert raised.value.key in type(average).model_fields


@pytest.mark.parametrize("capture", CAPTURES)
def test_learning_rates_of_the_paper(capture: Any) -> None:
    average = SWA(start=0.75, cycle=10, lr_end=1e-4, capture=capture)
    rates = [average.lr(0.01, Clock(i, 10_000)) for i in range(7490, 7521)]
    falling = [0.00901, 0.00802, 0.00703, 0.00604, 0.00505, 0.00406, 0.00307, 0.00208, 0.00109, 0.0001]
    assert rates == pytest.approx([*[0.01] * 10, *falling, *falling, 0.00901], rel=1e-12)
    assert average.lr(0.01, Clock(7499, 10_000)) == 0.01


@pytest.mark.parametrize(
    ("capture", "count", "lr"),
    [
        ("as-released", 249, 0.00901),  # the highest of the cycle
        ("cycle-end", 250, 1e-4),  # the lowest
    ],
)
def test_captures_of_the_paper_and_their_learning_rate(capture: Any, count: int, lr: float) -> None:
    average = SWA(start=0.75, cycle=10, lr_end=1e-4, capture=capture)
    state: dict[str, Tensor] = {}
    rates = []
    nothing = torch.tensor([-1.0], dtype=torch.float64)
    for i in range(10_000):
        theta_P, old = torch.tensor([float(i)], dtype=torch.float64), state
        state = average.update(theta_P, theta_P, old, Clock(i, 10_000))
        # the mean of growing numbers grows with each capture; the snapshot in round 7500 is none
        if i != 7500 and not torch.equal(average.served(nothing, old), average.served(nothing, state)):
            rates.append(average.lr(0.01, Clock(i, 10_000)))
    assert rates == pytest.approx([lr] * count, rel=1e-12)


@pytest.mark.parametrize(
    ("start", "rounds", "s"),
    [(0.75, 10_000, 7500), (0.815, 10_000, 8150), (0.58, 100, 58), (1 / 3, 300, 100), (8150 / 20_000, 20_000, 8150)],
)
def test_the_first_round_is_the_share_as_meant(start: float, rounds: int, s: int) -> None:
    """⌊start · T⌋, whether the share is a short decimal (in binary 0.815 · 10,000 is 8149.999...) or a quotient (1/3 to
    16 digits times 300 is 99.999...): a start one round early turns the release's captures, the highest rates of their
    cycles, into the lowest.
    """
    average = SWA(start=start, cycle=10)
    lowered = [i for i in range(rounds) if average.lr(0.01, Clock(i, rounds)) != 0.01]
    assert lowered[0] == s


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_long_mean_in_float32_is_still_the_mean(capture: Any) -> None:
    rounds, s, cycle = 1200, 300, 4
    rng = torch.Generator().manual_seed(0)
    after = list(5 + torch.randn(rounds, 4, generator=rng))
    found = served(SWA(start=0.25, cycle=cycle, capture=capture), after, after)[-1]
    kept = torch.stack([after[i] for i in oracle.captures(rounds, s, cycle, capture)]).double()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), kept.mean(0), rtol=2e-6, atol=0)


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_cycle_of_one_keeps_the_learning_rate(capture: Any) -> None:
    average = SWA(start=0.5, cycle=1, lr_end=1e-4, capture=capture)
    assert [average.lr(0.07, Clock(i, 10)) for i in range(10)] == [0.07] * 10


@pytest.mark.parametrize("capture", CAPTURES)
def test_an_update_changes_no_earlier_state_and_no_model(capture: Any) -> None:
    average = SWA(start=0.25, cycle=3, capture=capture)
    before, after = models(24)
    copies = [m.clone() for m in before + after]
    state: dict[str, Tensor] = {}
    history = []
    for i in range(24):
        history.append((state, {k: v.clone() for k, v in state.items()}))
        state = average.update(before[i], after[i], state, Clock(i, 24))
        assert all(isinstance(value, Tensor) for value in state.values())  # a checkpoint holds tensors only
        average.served(after[i], state)
    assert all(torch.equal(m, copy) for m, copy in zip(before + after, copies, strict=True))
    for old, was in history:
        assert old.keys() == was.keys()
        assert all(torch.equal(old[name], was[name]) for name in was)


def test_a_state_taken_out_and_put_back_goes_on_the_same() -> None:
    average = SWA(start=0.25, cycle=3)
    before, after = models(24)
    whole = served(average, before, after)[-1]
    state: dict[str, Tensor] = {}
    for i in range(24):
        state = {name: value.clone() for name, value in state.items()}
        state = SWA(start=0.25, cycle=3).update(before[i], after[i], state, Clock(i, 24))
    assert torch.equal(average.served(after[-1], state), whole)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"start": -0.1}, "start"),
        ({"start": math.nan}, "start"),
        ({"start": 1.5}, "start"),
        ({"cycle": 0}, "cycle"),
        ({"cycle": 2.5}, "cycle"),
        ({"lr_end": -1e-4}, "lr_end"),
        ({"capture": "end"}, "capture"),
        ({"begin": 0.5}, "begin"),
    ],
)
def test_impossible_settings_are_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as raised:
        SWA(**values)
    assert raised.value.key == field
    assert str(raised.value).startswith(field)
