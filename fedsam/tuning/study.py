"""Optuna's samplers on a `Space`."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

from fedsam.tuning.search.base import Outcome, Suggester
from fedsam.tuning.space import Choices, Dimension, Range, Space, Values


def quiet() -> Any:
    """Optuna, that says nothing but what is wrong."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study(Suggester):
    """Asks one of Optuna's samplers for trials as good as can be.

    A trial that was stopped early is told as pruned at its last round, so that TPE ranks it below all that ran to
    their end, whose rounds are worth more.

    Args:
        space: to search.
        sampler: of Optuna, with a seed of its own.
    """

    def __init__(self, space: Space, sampler: Any) -> None:
        self._space, self._asked = space, deque[Any]()
        self._study = quiet().create_study(sampler=sampler, direction="maximize")

    def ask(self) -> Values:
        """The sampler's next values; of keys that the chosen parts do not have there are none."""
        trial, chosen = self._study.ask(), Values()
        for dimension in self._space.dimensions:
            if self._space.has(dimension, chosen):
                chosen[dimension.key] = suggested(trial, dimension)
        self._asked.append(trial)
        return chosen

    def tell(self, outcome: Outcome) -> None:
        """Tell the sampler."""
        from optuna.trial import TrialState

        trial = self._asked.popleft()
        if outcome.state == "stopped":
            trial.report(outcome.merit, outcome.round)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, outcome.merit)


def suggested(trial: Any, dimension: Dimension) -> Any:
    """A trial's value along a dimension."""
    if isinstance(dimension, Range):
        if dimension.whole:
            return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log)
        return dimension.value(
            trial.suggest_float(dimension.key, float(dimension.low), float(dimension.high), log=dimension.log)
        )
    return dimension.values[trial.suggest_categorical(dimension.key, tuple(range(len(dimension.values))))]


def importance(space: Space, tried: list[tuple[Values, float]]) -> dict[str, float]:
    """How much each parameter decides whether a trial is among the best, adding up to 1; empty where nothing can be
    said: of fewer than four trials, or if all are equally good.

    PED-ANOVA (Watanabe et al., "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary subspaces",
    IJCAI 2023), of the trials that are not failed.

    Args:
        tried: parameters and merit of each trial.
    """
    if len(tried) < 4 or len({merit for _, merit in tried}) < 2:
        return {}
    optuna = quiet()
    study = optuna.create_study(direction="maximize")
    for chosen, merit in tried:
        own = [dimension for dimension in space.dimensions if dimension.key in chosen]
        params = {d.key: d.values.index(chosen[d.key]) if isinstance(d, Choices) else chosen[d.key] for d in own}
        kinds = {dimension.key: _distribution(dimension) for dimension in own}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=merit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return found


def _distribution(dimension: Dimension) -> Any:
    from optuna import distributions

    if isinstance(dimension, Choices):
        return distributions.CategoricalDistribution(tuple(range(len(dimension.values))))
    if dimension.whole:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return distributions.FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)
