"""Keyed streams: each is a function of its key alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsam.data.augment.crop_flip import CropFlip
from fedsam.data.augment.none import NoAugment
from fedsam.data.plan import plan_client, sample_cohort
from fedsam.rng import stream

KEYS = st.tuples(
    st.integers(0, 2**63 - 1),
    st.sampled_from(["cohort", "batches", "augment"]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


@given(KEYS, KEYS)
def test_streams_are_equal_exactly_when_their_keys_are(
    one: tuple[int, str, int, int], other: tuple[int, str, int, int]
) -> None:
    same = bool((stream(*one).integers(2**63, size=4) == stream(*other).integers(2**63, size=4)).all())
    assert same == (one == other)


def test_neighbouring_streams_do_not_overlap() -> None:
    """A stream continued past its neighbour's beginning never repeats it."""
    drawn = [stream(0, "batches", round, client).integers(2**63, size=500) for round in range(3) for client in range(3)]
    assert len(np.unique(np.concatenate(drawn))) == 9 * 500


def test_every_seed_sees_its_own_clients() -> None:
    """A defect of the FedSAM release: there client sampling is seeded by the round alone."""
    sequences = {seed: [tuple(sample_cohort(seed, round, 100, 5)) for round in range(20)] for seed in range(5)}
    assert len({tuple(s) for s in sequences.values()}) == 5


def test_cohorts_are_uniform_without_replacement() -> None:
    counts = np.zeros(20)
    for round in range(4000):
        ids = sample_cohort(1, round, 20, 5)
        assert ids == sorted(set(ids))
        counts[ids] += 1
    expected = 4000 * 5 / 20
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert sample_cohort(0, 0, 6, 6) == [0, 1, 2, 3, 4, 5]


def test_a_large_population_costs_nothing() -> None:
    assert len(set(sample_cohort(0, 0, 10**9, 50))) == 50


def test_batches_are_in_another_order_for_each_seed_round_and_client() -> None:
    def order(seed: int, round: int, client: int) -> tuple[int, ...]:
        plan = plan_client(np.arange(40), 8, 1, NoAugment(), (8, 8), seed, round, client)
        return tuple(plan.index_TB.reshape(-1).tolist())

    keys = [(seed, round, client) for seed in range(3) for round in range(3) for client in range(3)]
    assert len({order(*key) for key in keys}) == len(keys)
    assert order(1, 2, 0) == order(1, 2, 0)


def test_augmentation_draws_differ_for_each_seed_round_and_client() -> None:
    def draws(seed: int, round: int, client: int) -> bytes:
        plan = plan_client(np.arange(40), 8, 1, CropFlip(), (8, 8), seed, round, client)
        return b"".join(plan.draws[name].tobytes() for name in sorted(plan.draws))

    keys = [(seed, round, client) for seed in range(3) for round in range(3) for client in range(3)]
    assert len({draws(*key) for key in keys}) == len(keys)
