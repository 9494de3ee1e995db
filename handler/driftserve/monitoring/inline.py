"""The monitor inside a Lambda function. It has no own process, since Lambda freezes processes between requests."""

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
    """Logs, watches and publishes each batch before its response is sent. Every batch is one period of the metrics.

    Args:
        monitor: Must be able to find the contract of `model`.
        model: The archive's content digest.
        sinks: Destinations that get the metrics at once. If a sink does not accept metrics, they are lost, which is
            logged.
        clock: Returns seconds since the epoch.
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
        """Process the observations of one request."""
        now = self._clock()
        try:
            self._monitor.observe(ObservationBatch(self._model, now, observations))
        finally:  # the log must be complete even if watching fails, since `replay` forms windows from it
            self._log.write(now, observations, self._monitor.status()[self._model].state)
        metrics = self._monitor.collect(now)
        for sink in self._sinks:
            try:
                sink.emit(metrics)
            except DeliveryError as error:
                logger.error("%s lost %d metrics: %s", sink.name, len(error.undelivered), error)
