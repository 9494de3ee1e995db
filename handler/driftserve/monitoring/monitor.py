"""Watches all models of a container: computes metrics from observations, and reports from full windows."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from driftserve.archive.contract import Contract
from driftserve.archive.served import digest_of, display_name
from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.drift.overrides import NO_OVERRIDES, DriftOverrides
from driftserve.drift.report import DriftReport, Horizon, Verdict
from driftserve.drift.watch import DriftWatch, Progress
from driftserve.metrics import definitions as metrics
from driftserve.metrics.aggregator import Aggregator
from driftserve.metrics.definitions import EXCLUSIONS, Metric, common_dimensions
from driftserve.observations.observation import Observation, ObservationBatch
from driftserve.runtime.status import ModelStatus

logger = logging.getLogger(__name__)

_SMALLEST_P_VALUE = 1e-100  # smallest value of `DriftPValue`, since CloudWatch rejects numbers below 8.5e-109


class Monitor:
    """Watches the observations of all workers, separately for each served model, by its key (`archive.served`).

    The times of reports come from the batches, so that the same batches give the same reports.

    Args:
        find_contract: Returns the contract of a served model, or None while there is none.
        endpoint_name: The dimension `EndpointName` of every metric.
        variant_name: The dimension `VariantName` of every metric.
        overrides: The operator's settings for all models. The archives' certificates were measured without them, so
            reports and status mention them.
        find_calibration: Returns the calibration with which the watch of a served model begins.
    """

    def __init__(
        self,
        find_contract: Callable[[str], Contract | None],
        endpoint_name: str,
        variant_name: str,
        overrides: DriftOverrides = NO_OVERRIDES,
        find_calibration: Callable[[str], CalibrationProgress] = lambda _: NOT_CALIBRATED,
    ) -> None:
        self._find_contract = find_contract
        self._endpoint_name = endpoint_name
        self._variant_name = variant_name
        self._overrides = overrides
        self._find_calibration = find_calibration
        self._models: dict[str, _WatchedModel] = {}
        self._lost: Counter[str] = Counter()  # lost observations, by keys without a contract

    def watch(self, key: str) -> bool:
        """Start watching a model; return False if it has no contract."""
        if key not in self._models:
            self._add_model(key)
        return key in self._models

    def contract(self, key: str) -> Contract:
        """Return the contract of a model that is watched."""
        return self._models[key].drift.contract

    def knows(self, key: str) -> bool:
        """Return whether a model is watched. If it is not, try to start watching it.

        After a model's first lost observations this does not try again.
        """
        return key in self._models or (key not in self._lost and self.watch(key))

    def observe(self, batch: ObservationBatch) -> tuple[DriftReport, ...] | None:
        """Process a worker's batch; return the reports on the windows that it fills.

        Return None if the model has no contract. Its observations are then lost and counted; the first loss is logged.
        """
        if self.knows(batch.model):
            return tuple(self._models[batch.model].observe(batch))
        if batch.model not in self._lost:
            logger.warning("no contract for model %s: its observations are not watched", batch.model)
        self._lost[batch.model] += len(batch.observations) + batch.dropped
        return None

    def collect(self, now: float) -> list[Metric]:
        """Return the metrics of the period that ends at `now`, in seconds since the epoch."""
        return [metric for model in self._models.values() for metric in model.collect(now)]

    def forget(self, key: str, now: float) -> list[Metric]:
        """Stop watching a model whose contract was removed; return its final metrics."""
        model = self._models.pop(key, None)
        if model is None:
            return []
        logger.info("stopped watching %s (%s)", model.name, digest_of(key)[:12])
        return model.collect(now)

    def status(self) -> dict[str, ModelStatus]:
        """Return each model's status by its key, since two archives may have the same name."""
        return {key: model.status() for key, model in self._models.items()}

    def progress(self) -> dict[str, Progress]:
        """Return the progress of each model's watch, by the model's key."""
        return {key: model.drift.progress for key, model in self._models.items()}

    @property
    def lost(self) -> int:
        """Number of lost observations, of models without a contract."""
        return self._lost.total()

    def _add_model(self, key: str) -> None:
        contract = self._find_contract(key)
        if contract is None:
            return
        name, source = display_name(contract, key), digest_of(key)[:12]
        self._models[key] = _WatchedModel(
            name,
            DriftWatch(contract, self._overrides, Progress(calibration=self._find_calibration(key))),
            Aggregator(common_dimensions(self._endpoint_name, self._variant_name, name), source),
        )
        logger.info("watching %s (%s)", name, source)


class _WatchedModel:
    """One model's counters, metrics and last report."""

    def __init__(self, name: str, drift: DriftWatch, aggregator: Aggregator) -> None:
        self.name = name
        self.drift = drift
        self._aggregator = aggregator
        self._alarms = self._dropped = 0
        self._excluded = dict.fromkeys(EXCLUSIONS, 0)
        self._last: dict[Horizon, DriftReport] = {}

    def observe(self, batch: ObservationBatch) -> list[DriftReport]:
        self._dropped += batch.dropped
        self._aggregator.count(metrics.DROPS, batch.dropped)
        reports = []
        for observation in batch.observations:
            exclusion = self._exclusion(observation)
            if exclusion is not None:
                self._excluded[exclusion] += 1
                self._aggregator.count(metrics.EXCLUDED, 1, exclusion)
            if exclusion == "test":
                continue
            self._measure(observation)
            for report in self._watch(observation, batch.answered_at):
                reports.append(replace(report, model=self.name))
                self._record_report(reports[-1])
        return reports

    def collect(self, now: float) -> list[Metric]:
        # Send these every period: without data, a CloudWatch alarm would end when there is little traffic.
        if (report := self._last.get("window")) is not None:
            self._aggregator.sample(metrics.DRIFT_STATE, float(self._state is Verdict.DRIFT))
            self._aggregator.sample(metrics.WINDOW_AGE, max(0.0, now - report.ended_at))
            self._aggregator.sample(metrics.CALIBRATED, float(self.drift.calibration.state == "CALIBRATED"))
        return self._aggregator.drain(now)

    def status(self) -> ModelStatus:
        return ModelStatus(
            name=self.name,
            state=self._state,
            windows=self.drift.windows,
            long_windows=self.drift.long_windows,
            alarms=self._alarms,
            observations=self.drift.observations,
            observations_in_window=self.drift.observations_in_window,
            window_size=self.drift.window_size,
            excluded=dict(self._excluded),
            dropped=self._dropped,
            overrides=self.drift.overrides,
            calibration=self.drift.calibration,
            last_report=self._last.get("window"),
            last_long_report=self._last.get("long window"),
        )

    @property
    def _state(self) -> Verdict:
        """DRIFT if the last window or the last long window drifted; a small drift shows only in long windows."""
        verdicts = {report.verdict for report in self._last.values()}
        if not verdicts:
            return Verdict.INSUFFICIENT_DATA
        return Verdict.DRIFT if Verdict.DRIFT in verdicts else Verdict.OK

    def _exclusion(self, observation: Observation) -> str | None:
        """Return the reason why an observation enters no window, or None if it enters a window."""
        if observation.is_test:
            return "test"
        if observation.features is None:
            return "failed"
        return "duplicate" if self.drift.is_duplicate(observation.image_id) else None

    def _measure(self, observation: Observation) -> None:
        add = self._aggregator
        add.count(metrics.IMAGES, 1)
        add.count(metrics.ERRORS, int(observation.status >= 400))
        for phase, milliseconds in observation.latency_ms.items():
            add.sample(metrics.LATENCY, milliseconds, phase)
        if observation.label is not None and observation.confidence is not None:
            add.count(metrics.PREDICTED_CLASS, 1, observation.label)
            add.sample(metrics.CONFIDENCE, observation.confidence)

    def _watch(self, observation: Observation, answered_at: float) -> tuple[DriftReport, ...]:
        if observation.features is None:
            return ()
        before = self.drift.observations
        reports = self.drift.add(observation.features, observation.image_id, answered_at)
        self._aggregator.count(metrics.OBSERVATIONS, self.drift.observations - before)
        return reports

    def _record_report(self, report: DriftReport) -> None:
        self._last[report.horizon] = report
        self._alarms += report.verdict is Verdict.DRIFT
        if report.horizon == "window":
            self._aggregator.sample(metrics.ESTIMATED_ACCURACY, report.estimated_accuracy)
            for test in report.tests:
                self._aggregator.sample(metrics.DRIFT_STATISTIC, test.statistic, test.feature)
                self._aggregator.sample(metrics.DRIFT_P_VALUE, max(test.p_value, _SMALLEST_P_VALUE), test.feature)
        logger.log(
            logging.WARNING if report.verdict is Verdict.DRIFT else logging.INFO,
            "%s %s %d: %s%s",
            report.model,
            report.horizon,
            report.window,
            report.verdict.value,
            _explanation(report),
            extra={"model": report.model},
        )


def _explanation(report: DriftReport) -> str:
    """Return a text about the drifted features and the estimated accuracy; empty without drift."""
    if not report.drifted_features:
        return ""
    preposition = "of" if report.verdict is Verdict.DRIFT else "in spite of a shift of"
    return (
        f" {preposition} {', '.join(report.shifts)} ({', '.join(report.drifted_features)}); accuracy estimated at "
        f"{report.estimated_accuracy:.3f}, {report.reference_accuracy:.3f} on the reference"
    )
