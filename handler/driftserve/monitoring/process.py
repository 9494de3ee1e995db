"""Runs the monitor process: reads the channel, updates status and record, and publishes metrics every period."""

import logging
import sys
import threading
import time
from pathlib import Path

from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.errors import MonitorError
from driftserve.host.stop import StopFlag
from driftserve.metrics.aggregator import Aggregator
from driftserve.metrics.definitions import LOSS_CAUSES, LOST_OBSERVATIONS, Dimensions, Metric
from driftserve.metrics.publisher import Publisher
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.channel import SOCKET_FILE, Inbox, Receiver
from driftserve.observations.observation import batch_from_bytes
from driftserve.observations.recorder import Recorder
from driftserve.runtime.calibrations import write_calibration
from driftserve.runtime.directory import (
    RuntimeLock,
    forget_unloaded,
    known_keys,
    lock_runtime,
    unloaded_keys,
    write_contract,
)
from driftserve.runtime.status import Losses, touch_status, write_status

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
_LAST_CALL_SECONDS = 0.5  # how long datagrams are still received after the stop flag is set
_FLUSH_TIMEOUT_SECONDS = 4.0  # the supervisor kills the monitor after 6 s, and other work takes about 1 s of that
# How long the receiving thread waits for its turn while the main thread computes (sys.setswitchinterval). With the
# default of 5 ms, the kernel's queue of ten datagrams would overflow at a few hundred datagrams a second.
_SWITCH_INTERVAL_SECONDS = 0.0005


class MonitorProcess:
    """Runs a monitor until the stop flag is set.

    The receiving thread only drains the socket, whose kernel queue has room for ten datagrams
    (net.unix.max_dgram_qlen). Drift tests and metrics run on the main thread, each sink on its own thread.

    Args:
        monitor: Watches every model whose contract is in the runtime directory.
        publisher: Delivers the metrics.
        runtime_dir: Directory of the socket, the contracts and the status.
        period_seconds: Length of a period of the metrics.
        dimensions: Common dimensions of `LostObservations`.
        recorder: Records batches and reports; None if nothing is recorded.
    """

    def __init__(
        self,
        monitor: Monitor,
        publisher: Publisher,
        runtime_dir: Path,
        period_seconds: float,
        dimensions: Dimensions = (),
        recorder: Recorder | None = None,
    ) -> None:
        self._monitor = monitor
        self._publisher = publisher
        self._runtime_dir = runtime_dir
        self._period_seconds = period_seconds
        self._recorder = recorder
        self._inbox = Inbox()
        self._watched: set[str] = set()  # keys whose contracts the monitor has
        self._recorded: set[str] = set()  # keys whose watches the record knows
        self._unreadable: set[str] = set()  # keys whose contracts could not be read in this period
        self._calibrations: dict[str, CalibrationProgress] = {}  # as they were written, by key
        self._queue_full = self._not_understood = 0
        self._lost_observations = Aggregator(dimensions)
        self._reported = Losses()  # losses that are already in the metrics
        self._is_status_failing = False

    def run(self, stop: StopFlag) -> None:
        """Watch until `stop` is set. Then process the datagrams that were received, publish the metrics and return.

        Raises:
            MonitorError: Another monitor runs in the runtime directory, or the receiving thread died.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        with lock_runtime(self._runtime_dir) as lock:
            receiver = Receiver(self._runtime_dir / SOCKET_FILE)
            drain = threading.Thread(target=self._drain, args=(receiver, stop), name="receiver", daemon=True)
            drain.start()
            self._sync_models()
            self._update_status(is_new=True)
            self._watch(stop, drain, lock)
            drain.join()
            self._process_inbox()
            receiver.close()
            self._publisher.publish(self._collect(time.time()))
            self._publisher.close(_FLUSH_TIMEOUT_SECONDS)
            self._update_status(is_new=True)
            if self._recorder is not None:
                self._recorder.close()

    def _drain(self, receiver: Receiver, stop: StopFlag) -> None:
        leave_at = None
        while leave_at is None or time.monotonic() < leave_at:
            datagram = receiver.receive(_TICK_SECONDS)
            if stop.is_set() and leave_at is None:  # receive datagrams in flight, but not for ever
                leave_at = time.monotonic() + _LAST_CALL_SECONDS
            if datagram is not None and not self._inbox.put(datagram):
                if self._queue_full == 0:
                    logger.error("inbox full, dropping datagrams (%d queued)", len(self._inbox))
                self._queue_full += 1

    def _watch(self, stop: StopFlag, drain: threading.Thread, lock: RuntimeLock) -> None:
        due = time.monotonic() + self._period_seconds
        while not stop.wait(_TICK_SECONDS):
            if not drain.is_alive():
                raise MonitorError("the receiving thread ended; its traceback is in the log above")
            self._restore(lock)
            is_new = self._sync_models()
            self._update_status(is_new=self._process_inbox() > 0 or is_new)
            if (now := time.monotonic()) >= due:
                self._publisher.publish(self._collect(time.time()))
                self._unreadable.clear()
                due = next_period(due, now, self._period_seconds)

    def _restore(self, lock: RuntimeLock) -> None:
        """Write again what a cleaner of old files has removed: the lock and the contracts. The windows go on."""
        try:
            lock.restore()
            for key in self._watched - known_keys(self._runtime_dir) - unloaded_keys(self._runtime_dir):
                write_contract(self._runtime_dir, key, self._monitor.contract(key))
        except OSError:
            if not self._is_status_failing:
                logger.exception("cannot write into %s; monitoring continues", self._runtime_dir)

    def _sync_models(self) -> bool:
        """Add new models and drop unloaded ones; return whether anything changed."""
        known = known_keys(self._runtime_dir)
        unloaded = unloaded_keys(self._runtime_dir)
        new, gone = known - self._watched - self._unreadable, self._watched & unloaded
        for key in sorted(new):
            (self._watched if self._monitor.watch(key) else self._unreadable).add(key)
        for key in sorted(gone):
            self._publisher.publish(self._monitor.forget(key, time.time()))
        self._watched -= gone
        self._recorded -= gone
        forget_unloaded(self._runtime_dir, unloaded)
        return bool(gone) or not new.isdisjoint(self._watched)

    def _process_inbox(self) -> int:
        """Pass the queued datagrams to the recorder and the monitor; return how many there were."""
        waiting = len(self._inbox)  # only this thread removes datagrams
        for _ in range(waiting):
            datagram = self._inbox.take()
            try:
                batch = batch_from_bytes(datagram)
            except ValueError:
                self._not_understood += 1
                logger.exception("dropping a datagram that is not a valid batch of observations")
                continue
            if self._recorder is not None and self._monitor.knows(batch.model):
                if batch.model not in self._recorded:
                    self._recorder.start_part()  # a replay must see with what the model's watch begins
                    self._recorded.add(batch.model)
                self._recorder.record_batch(datagram, self._monitor.progress)
            reports = self._monitor.observe(batch)
            if self._recorder is not None and reports:
                self._recorder.record_reports(reports)
        self._keep_calibrations()
        return waiting

    def _keep_calibrations(self) -> None:
        """Write the calibrations that have changed, for a monitor that replaces this one if it dies."""
        for key, progress in self._monitor.progress().items():
            if progress.calibration is self._calibrations.get(key, NOT_CALIBRATED):
                continue
            self._calibrations[key] = progress.calibration
            try:
                write_calibration(self._runtime_dir, key, progress.calibration)
            except OSError:
                if not self._is_status_failing:
                    logger.exception("cannot write the calibration of %s; monitoring continues", key[:12])

    def _collect(self, now: float) -> list[Metric]:
        """Return the metrics of the period that ends at `now`, in seconds since the epoch."""
        lost = self._losses()
        for cause in LOSS_CAUSES:
            if new := getattr(lost, cause) - getattr(self._reported, cause):
                self._lost_observations.count(LOST_OBSERVATIONS, new, cause)
        self._reported = lost
        return self._monitor.collect(now) + self._lost_observations.drain(now)

    def _losses(self) -> Losses:
        return Losses(
            unknown_model=self._monitor.lost,
            queue_full=self._queue_full,
            not_understood=self._not_understood,
            not_recorded=self._recorder.lost if self._recorder is not None else 0,
        )

    def _update_status(self, is_new: bool) -> None:
        """Write the status. If nothing is new, only update the file's time, to show that the monitor is alive."""
        try:
            if is_new or self._is_status_failing:
                write_status(self._runtime_dir, self._monitor.status(), self._losses())
            else:
                touch_status(self._runtime_dir)
        except FileNotFoundError:  # somebody removed the file or the directory
            self._is_status_failing = True
        except OSError:  # for example a full disk; the current windows are worth more than the status
            if not self._is_status_failing:
                logger.exception("cannot write the status; monitoring continues")
            self._is_status_failing = True
        else:
            self._is_status_failing = False


def next_period(due: float, now: float, period_seconds: float) -> float:
    """Return when the next period ends. The last period should have ended at `due`, and ended at `now`.

    Missed periods are skipped.

    >>> next_period(60.0, now=60.2, period_seconds=60.0), next_period(60.0, now=300.0, period_seconds=60.0)
    (120.0, 360.0)
    """
    due += period_seconds
    return due if now < due else now + period_seconds
