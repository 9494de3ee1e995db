"""Aggregates the events of a period as metrics."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from driftserve.metrics.definitions import Definition, Dimensions, Metric


class Aggregator:
    """Aggregates the events of a period: adds up counts, and collects other values as a distribution."""

    def __init__(self, common: Dimensions, source: str = "") -> None:
        """Start empty; `common` are the common dimensions of all metrics, and `source` is their source."""
        self._common = common
        self._source = source
        # The second part of a key has the values of the definition's own dimensions.
        self._sums: Counter[tuple[Definition, tuple[str, ...]]] = Counter()
        self._samples: defaultdict[tuple[Definition, tuple[str, ...]], Counter[float]] = defaultdict(Counter)

    def count(self, definition: Definition, amount: int, *own: str) -> None:
        """Add to a count; `own` are the values of the definition's own dimensions."""
        self._sums[definition, own] += amount

    def sample(self, definition: Definition, value: float, *own: str) -> None:
        """Add a value to a distribution. Round it to 3 digits, so that equal values can be merged."""
        self._samples[definition, own][float(f"{value:.3g}")] += 1

    def drain(self, now: float) -> list[Metric]:
        """Return the metrics of the period that ends now, and start an empty period."""
        metrics = [
            self._metric(definition, own, (float(total),), (1,), now) for (definition, own), total in self._sums.items()
        ]
        for (definition, own), samples in self._samples.items():
            values, counts = zip(*sorted(samples.items()), strict=True)
            metrics.append(self._metric(definition, own, values, counts, now))
        self._sums.clear()
        self._samples.clear()
        return metrics

    def _metric(
        self, definition: Definition, own: Sequence[str], values: tuple[float, ...], counts: tuple[int, ...], now: float
    ) -> Metric:
        dimensions = self._common + tuple(zip(definition.dimensions, own, strict=True))
        return Metric(definition.name, definition.unit, dimensions, values, counts, now, self._source)
