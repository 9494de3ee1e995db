"""Sampling: which point of the space a trial gets."""

from dataclasses import asdict

import optuna
from optuna.samplers import BaseSampler, TPESampler

from driftserve_training.search.plan import Plan
from driftserve_training.search.space import Point


def sample(trial: optuna.Trial, number: int, plan: Plan) -> Point:
    """Choose the point of the trial with this number, store it in the study, and return it; a retry gets the same one.

    A grid returns its combinations in order. Otherwise a tree-structured Parzen estimator (Bergstra et al. 2011) draws
    the point. Its seed depends on the seed of the search and on the number. So two processes draw different points, and
    a search that was cut off continues with the points that it would have drawn.
    """
    space = plan.space
    trial.study.sampler = (
        _FixedPoint(space.combinations()[number])
        if plan.sampler == "grid"
        else TPESampler(seed=(plan.seed * 1_000_003 + number) % 2**32)
    )
    return Point(
        model=trial.suggest_categorical("model", space.models),
        optimizer=trial.suggest_categorical("optimizer", space.optimizers),
        learning_rate=trial.suggest_float(
            "learning_rate", min(space.learning_rates), max(space.learning_rates), log=True
        ),
    )


class _FixedPoint(BaseSampler):
    def __init__(self, point: Point) -> None:
        self._values = asdict(point)

    def infer_relative_search_space(self, *_: object, **__: object) -> dict[str, optuna.distributions.BaseDistribution]:
        return {}

    def sample_relative(self, *_: object, **__: object) -> dict[str, object]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,  # noqa: ARG002 - optuna's signature
        trial: optuna.trial.FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,  # noqa: ARG002
    ) -> object:
        return self._values[param_name]
