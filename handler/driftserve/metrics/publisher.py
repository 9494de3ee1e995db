"""Delivers metrics to the sinks. Each sink has its own thread, so a slow sink delays nothing else."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from driftserve.errors import DeliveryError
from driftserve.metrics.definitions import LOST, Dimensions, Metric, Sink

logger = logging.getLogger(__name__)

MAX_WAITING_PERIODS = 60
MIN_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
_FAILURES_A_LOG_LINE = 60


def retry_delay(failures: int) -> float:
    """Return the seconds to wait after this many failures in a row: a random time below a limit that doubles.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    bound = min(MAX_RETRY_SECONDS, MIN_RETRY_SECONDS * 2.0 ** min(failures, 10))
    return random.uniform(MIN_RETRY_SECONDS, bound)


class Publisher:
    """Delivers each period's metrics to every sink, with retries. It counts lost metrics and reports them.

    Args:
        sinks: Destinations of the metrics.
        dimensions: Common dimensions of `LostMetrics`, which is sent with every period.
        delay: Gives the seconds until the next try from the number of failures in a row.
    """

    def __init__(
        self, sinks: Sequence[Sink], dimensions: Dimensions = (), delay: Callable[[int], float] = retry_delay
    ) -> None:
        self._deliveries = [_Delivery(sink, dimensions, delay) for sink in sinks]

    def publish(self, metrics: Sequence[Metric]) -> None:
        """Queue a period's metrics, without blocking. If too many periods wait, the oldest period is lost."""
        for delivery in self._deliveries:
            delivery.put(metrics)

    def close(self, timeout_seconds: float) -> None:
        """Deliver the queued metrics, at most until the timeout. A wait before a retry ends at once."""
        deadline = time.monotonic() + timeout_seconds
        for delivery in self._deliveries:
            delivery.finish_by(deadline)
        for delivery in self._deliveries:
            delivery.join(deadline)


class _Delivery:
    """One sink's thread, queue and losses.

    Each lost series of each period counts as one lost metric. `_lost` counts the losses that no delivered `LostMetrics`
    has reported. The count is sent with a period and reset; if the period is not delivered, the count is added again.
    """

    def __init__(self, sink: Sink, dimensions: Dimensions, delay: Callable[[int], float]) -> None:
        self._sink = sink
        self._dimensions = (*dimensions, *zip(LOST.dimensions, (sink.name,), strict=True))
        self._delay = delay
        self._periods: deque[Sequence[Metric]] = deque()  # the waiting periods, without LostMetrics
        self._in_flight: Sequence[Metric] = ()  # the period that is being sent, with LostMetrics
        self._lost = 0
        self._failures = 0
        self._is_overflowing = False
        self._deadline: float | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"publisher-{sink.name}", daemon=True)
        self._thread.start()

    def put(self, metrics: Sequence[Metric]) -> None:
        with self._changed:
            self._periods.append(metrics)
            was_overflowing = self._is_overflowing
            self._drop_oldest()
            self._changed.notify()
        if self._is_overflowing and not was_overflowing:
            logger.error("%s is %d periods behind, dropping the oldest metrics", self._sink.name, MAX_WAITING_PERIODS)

    def finish_by(self, deadline: float) -> None:
        with self._changed:
            self._deadline = deadline
            self._changed.notify()

    def join(self, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._lost += sum(map(_size, (self._in_flight, *self._periods)))
            self._periods.clear()
        if self._lost:
            logger.error("%s: %d metrics lost at shutdown, not reported in LostMetrics", self._sink.name, self._lost)

    def _run(self) -> None:
        while period := self._next():
            try:
                self._sink.emit(period)
            except DeliveryError as error:
                undelivered = [metric for metric in error.undelivered if isinstance(metric, Metric)]
                if error.is_permanent:
                    logger.error("%s lost %d metrics: %s", self._sink.name, _size(undelivered), error)
                    self._give_up(undelivered)
                else:
                    self._put_back(undelivered)
                    if self._failures % _FAILURES_A_LOG_LINE == 1:
                        logger.warning(
                            "%s: delivery failed %d times in a row, retrying: %s",
                            self._sink.name,
                            self._failures,
                            error,
                        )
                    if not self._back_off():
                        return
            except Exception:  # a defect in a sink must not stop later periods
                logger.exception("%s lost %d metrics", self._sink.name, _size(period))
                self._give_up(period)
            else:
                self._recover(period)

    def _next(self) -> Sequence[Metric]:
        """Wait for the oldest period and return it with `LostMetrics` at its end; empty if all work is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._periods or self._deadline is not None)
            if not self._periods:
                return ()
            lost = Metric(LOST.name, LOST.unit, self._dimensions, (float(self._lost),), (1,), time.time())
            self._lost = 0
            self._in_flight = (*self._periods.popleft(), lost)
            return self._in_flight

    def _put_back(self, undelivered: Sequence[Metric]) -> None:
        with self._changed:
            self._failures += 1
            self._in_flight = ()
            self._lost += _reported_losses(undelivered)
            self._periods.appendleft([metric for metric in undelivered if metric.name != LOST.name])
            self._drop_oldest()

    def _give_up(self, undelivered: Sequence[Metric]) -> None:
        with self._changed:
            self._failures = 0
            self._in_flight = ()
            self._lost += _size(undelivered)

    def _recover(self, period: Sequence[Metric]) -> None:
        with self._changed:
            failures, self._failures = self._failures, 0
            was_overflowing, self._is_overflowing = self._is_overflowing, False
            self._in_flight = ()
        if failures or was_overflowing:
            logger.warning(
                "%s delivers again after %d failures; %d metrics were lost",
                self._sink.name,
                failures,
                _reported_losses(period),
            )

    def _drop_oldest(self) -> None:
        while len(self._periods) > MAX_WAITING_PERIODS:
            self._lost += _size(self._periods.popleft())
            self._is_overflowing = True

    def _back_off(self) -> bool:
        """Wait until the next try; return False if that would be after the deadline."""
        with self._changed:
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None, self._delay(self._failures))
                return True
            delay = self._delay(1)
            if time.monotonic() + delay >= self._deadline:
                return False
            self._changed.wait(delay)
            return True


def _size(metrics: Sequence[Metric]) -> int:
    """Return the number of distinct series in the metrics, plus the losses that a `LostMetrics` among them reports."""
    series = {(metric.name, metric.dimensions) for metric in metrics if metric.name != LOST.name}
    return len(series) + _reported_losses(metrics)


def _reported_losses(metrics: Sequence[Metric]) -> int:
    return sum(int(metric.values[0]) for metric in metrics if metric.name == LOST.name)
