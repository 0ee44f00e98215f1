"""Learning rates over the rounds, by their formulas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsam.config import find, names
from fedsam.errors import InputError
from fedsam.schedule.base import Clock, Schedule
from fedsam.schedule.constant import Constant
from fedsam.schedule.cosine import Cosine
from fedsam.schedule.exponential import Exponential
from tests.oracles import schedules as oracle

KIND: Any = Schedule
DISCOVERED: list[Any] = [find(KIND, name) for name in names(KIND)]


def rates(schedule: Schedule, lr: float, rounds: int) -> list[float]:
    return [schedule.lr(lr, Clock(t, rounds)) for t in range(rounds)]


@given(st.floats(1e-5, 10), st.integers(1, 80), st.floats(0.5, 1.0), st.floats(0, 1e-5))
def test_rates_equal_the_formula(lr: float, rounds: int, decay: float, lr_min: float) -> None:
    def same(schedule: Schedule, expected: list[float]) -> None:
        assert rates(schedule, lr, rounds) == pytest.approx(expected, rel=1e-12)

    same(Constant(), oracle.constant(lr, rounds))
    same(Exponential(decay=decay), oracle.exponential(lr, rounds, decay))
    same(Cosine(lr_min=lr_min), oracle.cosine(lr, rounds, lr_min))


def test_by_hand() -> None:
    assert rates(Exponential(decay=0.5), 0.8, 4) == [0.8, 0.4, 0.2, 0.1]
    assert rates(Cosine(lr_min=0.1), 0.5, 4) == pytest.approx(
        [0.5, 0.3 + 0.2 / math.sqrt(2), 0.3, 0.3 - 0.2 / math.sqrt(2)]
    )


@pytest.mark.parametrize("cls", DISCOVERED, ids=lambda cls: cls.__name__)
def test_every_schedule_begins_at_the_configured_rate_and_never_rises(cls: Any) -> None:
    found = rates(cls(), 0.3, 50)
    assert found[0] == pytest.approx(0.3, rel=1e-15)
    assert all(0 < later <= earlier for earlier, later in pairwise(found))
    assert rates(cls(), 0.6, 50) == pytest.approx([2 * rate for rate in found])  # in proportion


@pytest.mark.parametrize(
    ("cls", "values", "field"),
    [
        (Exponential, {"decay": 0.0}, "decay"),
        (Exponential, {"decay": 1.1}, "decay"),
        (Exponential, {"decay": math.nan}, "decay"),
        (Cosine, {"lr_min": -0.1}, "lr_min"),
        (Cosine, {"lr_max": 1.0}, "lr_max"),
        (Constant, {"decay": 0.5}, "decay"),
    ],
)
def test_impossible_settings_are_refused_by_name(cls: Any, values: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as raised:
        cls(**values)
    assert raised.value.key == field
