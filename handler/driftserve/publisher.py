"""Delivery of metrics to the sinks, on a thread of its own, so that a slow AWS delays nobody."""

import logging
import queue
import threading
from collections.abc import Sequence

from driftserve.metrics import Metric, Sink

logger = logging.getLogger(__name__)

_MAX_WAITING_PERIODS = 60


class Publisher:
    """Hands each period's metrics to every sink; a sink that fails loses that period, and says so."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._periods: queue.Queue[Sequence[Metric] | None] = queue.Queue(_MAX_WAITING_PERIODS)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, metrics: Sequence[Metric]) -> None:
        """Queue a period's metrics; never blocks."""
        try:
            self._periods.put_nowait(metrics)
        except queue.Full:
            logger.error("%d metrics lost: the sinks are %d periods behind", len(metrics), _MAX_WAITING_PERIODS)

    def close(self, timeout_seconds: float) -> None:
        """Deliver what is queued, for as long as the timeout allows."""
        try:
            self._periods.put(None, timeout=timeout_seconds)
        except queue.Full:
            logger.error("the sinks did not catch up in %s s: metrics are lost", timeout_seconds)
            return
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (metrics := self._periods.get()) is not None:
            for sink in self._sinks:
                try:
                    sink.emit(metrics)
                except Exception:  # AWS may be away: neither requests nor drift detection depend on it
                    logger.exception("%s lost %d metrics", type(sink).__name__, len(metrics))
