"""What is searched: the models, the optimizers and the learning rates."""

from dataclasses import asdict, dataclass
from itertools import product

import optuna
from optuna.samplers import BaseSampler, TPESampler


@dataclass(frozen=True)
class Point:
    """One combination of what is searched."""

    model: str
    optimizer: str
    learning_rate: float


@dataclass(frozen=True)
class Space:
    """The values that are tried; a sampler that draws takes any learning rate between the least and the greatest."""

    models: tuple[str, ...]
    optimizers: tuple[str, ...]
    learning_rates: tuple[float, ...]

    def combinations(self) -> tuple[Point, ...]:
        """Every combination, the learning rate changing first.

        >>> [point.learning_rate for point in Space(("a",), ("sgd",), (0.1, 0.3)).combinations()]
        [0.1, 0.3]
        """
        return tuple(Point(*values) for values in product(self.models, self.optimizers, self.learning_rates))


def suggest(trial: optuna.Trial, space: Space) -> Point:
    """The point of a trial by its study's sampler, noted in the study."""
    return Point(
        model=trial.suggest_categorical("model", space.models),
        optimizer=trial.suggest_categorical("optimizer", space.optimizers),
        learning_rate=trial.suggest_float(
            "learning_rate", min(space.learning_rates), max(space.learning_rates), log=True
        ),
    )


def grid_sampler(space: Space, number: int) -> BaseSampler:
    """A sampler that gives the combination of that number."""
    return _Given(space.combinations()[number])


def tpe_sampler(seed: int, number: int) -> BaseSampler:
    """A tree-structured Parzen estimator (Bergstra et al. 2011) for the trial of that number.

    Its seed is of the study and of the trial, so that two processes do not draw alike, and a search that was cut off
    goes on to draw what it would have drawn.
    """
    return TPESampler(seed=(seed * 1_000_003 + number) % 2**32)


class _Given(BaseSampler):
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
