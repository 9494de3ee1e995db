"""Writes metrics to the log, one line for each model and period."""

import logging
from collections.abc import Sequence

from driftserve.metrics.definitions import COMMON_DIMENSIONS, Dimensions, Metric

logger = logging.getLogger(__name__)


class LogSink:
    """Writes the mean of each metric's values; the mean of a count is the count itself."""

    name = "log"

    def __init__(self) -> None:
        """Log the metrics at any log level that the operator sets."""
        logger.setLevel(logging.INFO)

    def emit(self, metrics: Sequence[Metric]) -> None:
        """Log the metrics as a field, e.g. `"metrics": {"Model": "scenes/1", "Images": 12, "Latency.model": 9.4}`."""
        lines: dict[tuple[Dimensions, str], dict[str, float]] = {}
        for metric in metrics:
            common = tuple(pair for pair in metric.dimensions if pair[0] in COMMON_DIMENSIONS)
            own = [value for name, value in metric.dimensions if name not in COMMON_DIMENSIONS]
            total = sum(value * times for value, times in zip(metric.values, metric.counts, strict=True))
            lines.setdefault((common, metric.source), {})[".".join([metric.name, *own])] = total / sum(metric.counts)
        for (common, source), values in lines.items():
            origin = dict(common) | ({"Digest": source} if source else {})
            logger.info("metrics of the period", extra={"metrics": origin | values})
