"""Partitions: what each rule promises, and what it refuses."""

import math

import numpy as np
import pytest

from fedsam.data.heterogeneity import gini, js_divergence
from fedsam.errors import InputError
from tests.support.partitions import balanced, counts

# iid


def test_iid_labels_are_hypergeometric() -> None:
    labels = balanced(20_000, 4)
    found = counts("iid", labels, 400)  # 50 each
    assert found.mean(axis=0) == pytest.approx([12.5] * 4)
    variance = 50 * 0.25 * 0.75 * (20_000 - 50) / (20_000 - 1)
    assert found.var(axis=0) == pytest.approx([variance] * 4, rel=0.2)


# dirichlet


def hsu(labels: np.ndarray, clients: int, size: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Section 3 of Hsu et al. by the letter: one example after the other, renormalised when a class runs out."""
    pool = np.bincount(labels)
    prior = pool / pool.sum()
    found = np.zeros((clients, len(pool)), dtype=np.int64)
    for k in range(clients):
        mix = rng.dirichlet(alpha * prior)
        for _ in range(size):
            mix = np.where(pool > 0, mix, 0.0)
            mix = mix / mix.sum() if mix.sum() > 0 else (pool > 0) / (pool > 0).sum()
            c = int(np.searchsorted(np.cumsum(mix), rng.random() * mix.sum(), side="right"))
            found[k, c] += 1
            pool[c] -= 1
    return found


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0, 100.0])
def test_dirichlet_is_hsus_sequential_algorithm(alpha: float) -> None:
    labels = np.repeat(np.arange(5), [60, 60, 120, 240, 120])
    slow = np.stack([hsu(labels, 20, 30, alpha, np.random.default_rng(seed)) for seed in range(60)])
    fast = np.stack([counts("dirichlet", labels, 20, seed=seed, alpha=alpha) for seed in range(60)])

    def moments(found_SKL: np.ndarray) -> np.ndarray:
        first, last = found_SKL[:, :10], found_SKL[:, 10:]  # what is left for the last ones shows the renormalisation
        per_seed = [(half > 0).sum(axis=2).mean(axis=1) for half in (first, last)]
        per_seed += [(half / 30).var(axis=1).mean(axis=1) for half in (first, last)]
        return np.stack(per_seed)

    a, b = moments(slow), moments(fast)
    error = np.sqrt((a.var(axis=1) + b.var(axis=1)) / 60)
    assert (np.abs(a.mean(axis=1) - b.mean(axis=1)) < 4 * error + 1e-9).all()
    assert (a.mean(axis=1)[:2] > 1.05).all()  # the comparison is not one of constants


def test_dirichlet_mixes_have_the_moments_of_their_distribution() -> None:
    labels = np.repeat([0, 1, 2], [200_000, 300_000, 500_000])
    prior, alpha, size = np.array([0.2, 0.3, 0.5]), 2.0, 50
    found = counts("dirichlet", labels, 3000, size, alpha=alpha)  # pools are never exhausted
    assert found.mean(axis=0) / size == pytest.approx(prior, abs=0.02)
    # Dirichlet-multinomial: n p (1 - p) (n + alpha) / (1 + alpha)
    variance = size * prior * (1 - prior) * (size + alpha) / (1 + alpha)
    assert found.var(axis=0) == pytest.approx(variance, rel=0.07)


def test_dirichlet_with_a_large_concentration_is_the_whole() -> None:
    labels = np.repeat(np.arange(4), [4000, 8000, 12_000, 16_000])
    share = counts("dirichlet", labels, 20, 1000, alpha=1e6) / 1000
    bound = 4.5 * np.sqrt(0.25 / 1000)  # standard deviations of a share of 1000 draws
    assert np.abs(share - [0.1, 0.2, 0.3, 0.4]).max() < bound
    skewed = counts("dirichlet", labels, 20, 1000, alpha=10.0) / 1000
    assert np.abs(skewed - [0.1, 0.2, 0.3, 0.4]).max() > bound


def test_dirichlet_with_a_tiny_concentration_is_one_class_until_pools_run_out() -> None:
    found = counts("dirichlet", balanced(5000, 10), 20, 10, alpha=1e-12)
    assert ((found > 0).sum(axis=1) == 1).all()
    assert len(np.unique(found.argmax(axis=1))) > 4  # clients choose for themselves


@pytest.mark.parametrize(("clients", "size"), [(100, None), (100, 5), (7, 10), (30, 30)])
def test_alpha_zero_is_exactly_one_class_each(clients: int, size: int | None) -> None:
    found = counts("dirichlet", balanced(1000, 10), clients, size, alpha=0)
    if size is None:
        size = 10
    elif clients > 10:
        assert np.bincount(found.argmax(axis=1)).tolist() == [clients // 10] * 10
    assert ((found > 0).sum(axis=1) == 1).all()
    assert (found.max(axis=1) == size).all()
    assert (np.diff(found.argmax(axis=1)) != 0).any()
    assert (np.diff(found.argmax(axis=1)) < 0).any()  # which client has which class is random


def test_alpha_zero_gives_clients_to_classes_in_proportion() -> None:
    labels = np.repeat(np.arange(4), [7, 130, 263, 600])
    found = counts("dirichlet", labels, 20, alpha=0)
    assert found.sum(axis=0).tolist() == [7, 130, 263, 600]
    # quotas 0.14, 2.6, 5.26, 12: the first class must have one client, the second has the largest remainder
    assert (found > 0).sum(axis=0).tolist() == [1, 2, 5, 12]
    for c in range(4):
        own = found[found[:, c] > 0, c]
        assert own.max() - own.min() <= 1


def test_alpha_zero_says_what_is_impossible() -> None:
    with pytest.raises(InputError, match="clients = 9: at alpha = 0 a client has one class: must be at least 10"):
        counts("dirichlet", balanced(1000, 10), 9, alpha=0)
    with pytest.raises(InputError, match=r"samples_per_client = 30: .* hold 30 clients of this size, not 31"):
        counts("dirichlet", balanced(1000, 10), 31, 30, alpha=0)
    # What is just possible is done: quotas 1.425, 1.425, 3.15, but the first two classes hold one client each.
    found = counts("dirichlet", np.repeat([0, 1, 2], [19, 19, 42]), 6, 10, alpha=0)
    assert (found > 0).sum(axis=0).tolist() == [1, 1, 4]


# dirichlet_class


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_dirichlet_class_proportions_have_the_moments_of_their_distribution(alpha: float) -> None:
    clients, classes, each = 5, 40, 2000
    labels = np.repeat(np.arange(classes), each)
    found = np.stack([counts("dirichlet_class", labels, clients, seed=s, alpha=alpha, min_size=0) for s in range(25)])
    assert (found.sum(axis=1) == each).all()
    share = found.swapaxes(1, 2).reshape(-1, clients) / each  # 1000 draws
    variance = (clients - 1) / (clients**2 * (clients * alpha + 1))
    assert share.mean(axis=0) == pytest.approx(np.full(clients, 1 / clients), abs=4.5 * math.sqrt(variance / 1000))
    assert share.var(axis=0).mean() == pytest.approx(variance, rel=0.07)


def test_dirichlet_class_moves_random_examples_of_the_largest_clients_only() -> None:
    labels = balanced(2000, 4)
    free = counts("dirichlet_class", labels, 50, alpha=0.02, min_size=0)
    held = counts("dirichlet_class", labels, 50, alpha=0.02, min_size=5)
    small, gave = free.sum(axis=1) < 5, held.sum(axis=1) < free.sum(axis=1)
    assert small.sum() >= 10
    assert (held.sum(axis=1)[small] == 5).all()
    assert (held[~small & ~gave] == free[~small & ~gave]).all()
    assert (held[small] >= free[small]).all()
    level = held.sum(axis=1)[gave].max()
    assert level - held.sum(axis=1)[gave].min() <= 1
    assert free.sum(axis=1)[~gave].max() <= level


def test_dirichlet_class_moves_random_examples_to_random_clients() -> None:
    labels = np.repeat([0, 1], 500)
    givers = set()
    for seed in range(40):  # each class goes to one client; sometimes both to the same
        free = counts("dirichlet_class", labels, 5, seed=seed, alpha=1e-6, min_size=0)
        held = counts("dirichlet_class", labels, 5, seed=seed, alpha=1e-6, min_size=100)
        received = held[free.sum(axis=1) == 0]
        assert np.abs(received[:, 0] - 50).max() < 5 * 5  # hypergeometric, standard deviation below 5
        givers.add(int((free.sum(axis=1) > 0).sum()))
    assert givers == {1, 2}


# shards


@pytest.mark.parametrize(("clients", "size"), [(10, None), (10, 40), (17, None), (17, 31)])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_cross_few_borders(clients: int, size: int | None, shards: int) -> None:
    labels = balanced(1000, 5)
    found = counts("shards", labels, clients, size, shards_per_client=shards)
    # Each of the 4 borders between classes lies in at most one shard, which so has one class more.
    assert ((found > 0).sum(axis=1) <= shards + 4).all()
    assert (found > 0).sum() <= clients * shards + 4
    assert found.sum(axis=1).max() - found.sum(axis=1).min() <= 1


def test_shards_are_mcmahans() -> None:
    found = counts("shards", balanced(6000, 10), 100)
    assert set(np.unique(found)) == {0, 30, 60}  # 200 shards of 30, borders of classes at borders of shards
    classes = (found > 0).sum(axis=1)
    assert classes.max() == 2
    # A client's second shard is of the class of its first with probability 19 / 199.
    assert (classes == 1).mean() == pytest.approx(19 / 199, abs=0.1)
    with pytest.raises(InputError, match="shards_per_client = 61: must be at most 60, the examples of a client"):
        counts("shards", balanced(6000, 10), 100, shards_per_client=61)


# quantity


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_quantity_sizes_are_log_normal(sigma: float) -> None:
    found = counts("quantity", balanced(100_000, 4), 500, sigma=sigma)
    logs = np.log(found.sum(axis=1))
    assert logs.std() == pytest.approx(sigma, rel=0.1)
    assert ((logs - logs.mean()) ** 3).mean() / logs.std() ** 3 == pytest.approx(0, abs=0.35)  # skewness
    large = found[found.sum(axis=1) > 200]
    share = large / large.sum(axis=1, keepdims=True)
    assert np.abs(share - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 200)  # labels as in the whole


def test_quantity_with_sigma_zero_is_even() -> None:
    sizes = counts("quantity", balanced(1003, 4), 10, sigma=0.0).sum(axis=1)
    assert sorted(sizes) == [100] * 7 + [101] * 3


# sizes and labels at once


@pytest.mark.parametrize("name", ["dirichlet", "shards"])
def test_label_and_size_skew_together(name: str) -> None:
    labels = balanced(5000, 10)
    keys = {"dirichlet": {"alpha": 0.1}, "shards": {"shards_per_client": 2}}[name]
    even, uneven = (counts(name, labels, 40, sigma=sigma, **keys) for sigma in (0.0, 1.0))
    sizes = uneven.sum(axis=1)
    assert sizes.sum() == 5000
    assert (uneven.sum(axis=0) == 500).all()
    # the sizes are those of `quantity` with the same draws
    assert sorted(sizes) == sorted(counts("quantity", labels, 40, sigma=1.0, min_size=1).sum(axis=1))
    assert np.ptp(even.sum(axis=1)) == 0
    assert gini(sizes) > 0.3
    skew = [js_divergence(found).mean() for found in (even, uneven, counts("quantity", labels, 40))]
    assert skew[1] == pytest.approx(skew[0], rel=0.2)
    assert skew[1] > 4 * skew[2]
    assert np.array_equal(uneven, counts(name, labels, 40, sigma=1.0, **keys))


def test_every_shard_of_a_small_client_has_an_example() -> None:
    sizes = counts("shards", balanced(300, 10), 50, sigma=3.0, shards_per_client=4).sum(axis=1)
    assert sizes.min() == 4
    assert sizes.sum() == 300


@pytest.mark.parametrize(
    ("name", "size", "keys", "message"),
    [
        ("dirichlet", 3, {"sigma": 1.0}, "samples_per_client = 3: sizes are drawn with sigma = 1"),
        ("shards", 3, {"sigma": 1.0}, "samples_per_client = 3: sizes are drawn with sigma = 1"),
        ("dirichlet", None, {"sigma": 1.0, "alpha": 0.0}, "sigma = 1.0: at alpha = 0"),
        ("shards", None, {"sigma": 1.0, "shards_per_client": 26}, "shards_per_client = 26: must be at most 25"),
    ],
)
def test_sizes_that_cannot_be_are_refused(name: str, size: int | None, keys: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        counts(name, balanced(100, 10), 4, size, **keys)
    assert str(caught.value).startswith(message)
