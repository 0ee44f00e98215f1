"""Several clients to a domain: each has examples of one alone, and all of a domain are divided."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fedsam import InputError
from fedsam.data.shapes import DOMAINS, Shapes


def loaded(seed: int = 0, **keys: object) -> tuple[list[np.ndarray], list[list[str]], np.ndarray]:
    """Each client's examples, the domains that it is made of, and every example's domain."""
    federation = Shapes(size=8, **{"domain_samples": 10, "domain_test_samples": 2, **keys}).load(seed)
    store, index = federation.examples(range(federation.clients))
    assert store.groups is not None
    return index, federation.groups_of(range(federation.clients)), store.groups


@pytest.mark.parametrize(("clients", "unseen"), [(8, ""), (24, ""), (19, ""), (24, "2"), (16, "night,snow")])
def test_each_client_has_a_part_of_one_domain(clients: int, unseen: str) -> None:
    index, names, groups = loaded(clients=clients, unseen=unseen)
    domains = 8 if not unseen else 6
    assert len(index) == clients
    assert np.array_equal(np.sort(np.concatenate(index)), np.arange(10 * domains))
    assert [len({*groups[own]}) for own in index] == [1] * clients
    assert all(len(own) == 1 for own in names)
    number = Counter(name for own in names for name in own)
    assert max(number.values()) - min(number.values()) <= 1
    sizes = {name: [len(own) for own, its in zip(index, names, strict=True) if its == [name]] for name in number}
    assert all(max(each) - min(each) <= 1 for each in sizes.values())
    if unseen == "night,snow":
        assert set(number) == set(DOMAINS) - {"night", "snow"}


def test_the_division_is_keyed() -> None:
    one, again, other = (loaded(seed)[0] for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"clients": 7}, r"fewer clients than the 8 groups that have training examples; use partition grouped"),
        ({"clients": 90}, r"a group of 10 examples cannot be divided among 12 clients"),
        ({"samples_per_client": 3}, r"sizes are those of the groups in partition within_groups"),
    ],
)
def test_what_cannot_be_divided_is_refused(keys: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        loaded(**keys)
