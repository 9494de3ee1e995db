"""The monitor without a process of its own: for a function, which is frozen as soon as it has answered."""

import logging
import time
from collections.abc import Callable, Sequence

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import Sink
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.function_log import ObservationLog
from driftserve.observations.observation import Observation, ObservationBatch

logger = logging.getLogger(__name__)


class InlineMonitor:
    """Logs, watches and publishes each batch before its answer leaves; every batch is a period of the metrics.

    Args:
        monitor: knows the contract of `model`.
        model: the archive's content digest.
        sinks: get the metrics at once. What one does not take is logged, and lost.
        clock: in seconds since the epoch.
    """

    def __init__(
        self, monitor: Monitor, model: str, sinks: Sequence[Sink], clock: Callable[[], float] = time.time
    ) -> None:
        self._monitor = monitor
        self._model = model
        self._sinks = sinks
        self._clock = clock
        self._log = ObservationLog(model)
        monitor.watch(model)

    def observe(self, observations: tuple[Observation, ...]) -> None:
        """Take in the observations of one request."""
        now = self._clock()
        try:
            self._monitor.observe(ObservationBatch(self._model, now, observations))
        finally:  # windows outside of this process do not miss what it could not watch
            self._log.write(now, observations, self._monitor.status()[self._model].state)
        metrics = self._monitor.collect(now)
        for sink in self._sinks:
            try:
                sink.emit(metrics)
            except DeliveryError as error:
                logger.error("%s lost %d metrics: %s", sink.name, len(error.undelivered), error)
