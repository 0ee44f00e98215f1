"""Tree-structured Parzen estimator: what good trials have in common is tried more often."""

from __future__ import annotations

from fedsam.tuning.search.base import Search, Suggester, seed_of
from fedsam.tuning.space import Space

STARTUP = 10  # Optuna's own number


class Tpe(Search):
    """TPE (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011), as Optuna does it: all
    parameters together, and trials that go on are taken for bad ones, so that their neighbours are not tried too.

    The first trials are drawn at random, a quarter of all but at most ten.
    """

    def start(self, space: Space, seed: int, trials: int) -> Suggester:
        """Begin with random draws."""
        from optuna.samplers import TPESampler

        from fedsam.tuning.study import Study

        startup = max(2, min(STARTUP, trials // 4))
        return Study(space, TPESampler(seed=seed_of(seed), n_startup_trials=startup))
