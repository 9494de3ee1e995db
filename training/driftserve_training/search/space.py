"""The space of a search: models, optimizers and learning rates."""

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Point:
    """One combination of the searched parameters."""

    model: str
    optimizer: str
    learning_rate: float


@dataclass(frozen=True)
class Space:
    """The values to try; the sampler `tpe` draws any learning rate between the lowest and the highest."""

    models: tuple[str, ...]
    optimizers: tuple[str, ...]
    learning_rates: tuple[float, ...]

    def combinations(self) -> tuple[Point, ...]:
        """Return every combination; the learning rate changes fastest.

        >>> [point.learning_rate for point in Space(("a",), ("sgd",), (0.1, 0.3)).combinations()]
        [0.1, 0.3]
        """
        return tuple(Point(*values) for values in product(self.models, self.optimizers, self.learning_rates))
