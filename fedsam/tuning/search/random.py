"""Independent draws from the whole space: uniform, on a logarithmic scale where that was asked for."""

from __future__ import annotations

from fedsam.tuning.search.base import Search, Suggester, seed_of
from fedsam.tuning.space import Space


class Random(Search):
    """Random search (Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012)."""

    def start(self, space: Space, seed: int, trials: int) -> Suggester:
        """Begin to draw."""
        from optuna.samplers import RandomSampler

        from fedsam.tuning.study import Study

        return Study(space, RandomSampler(seed=seed_of(seed)))
