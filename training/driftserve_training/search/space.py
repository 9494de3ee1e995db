"""What is searched: the models, the optimizers and the learning rates."""

from dataclasses import dataclass
from itertools import product


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
