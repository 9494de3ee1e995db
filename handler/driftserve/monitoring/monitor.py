"""The watch over a container's models: observations become metrics, windows become reports."""

import logging
from collections import Counter
from collections.abc import Callable

from driftserve.archive.contract import Contract
from driftserve.drift.report import DriftReport, Horizon, Verdict
from driftserve.drift.watch import DriftWatch, Progress
from driftserve.metrics import definitions as metrics
from driftserve.metrics.aggregator import Aggregator
from driftserve.metrics.definitions import EXCLUSIONS, Metric, common_dimensions
from driftserve.observations.observation import Observation, ObservationBatch
from driftserve.runtime.status import ModelStatus

logger = logging.getLogger(__name__)

_SMALLEST_P_VALUE = 1e-100  # as a metric: CloudWatch refuses numbers closer to zero than 8.5e-109


class Monitor:
    """Merges the observations of all workers, a model at a time.

    Time comes from the batches, so that the same batches give the same reports.

    Args:
        find_contract: gives the contract of an archive digest, or None while there is none.
        endpoint_name: the dimension `EndpointName` of every metric.
        variant_name: the dimension `VariantName` of every metric.
        window_size: an operator's, instead of every contract's; the archive's certificate does not
            cover it, so reports and status name it.
        windows_between_false_alarms: likewise.
    """

    def __init__(
        self,
        find_contract: Callable[[str], Contract | None],
        endpoint_name: str,
        variant_name: str,
        window_size: int | None = None,
        windows_between_false_alarms: int | None = None,
    ) -> None:
        self._find_contract = find_contract
        self._endpoint_name = endpoint_name
        self._variant_name = variant_name
        self._window_size = window_size
        self._windows_between_false_alarms = windows_between_false_alarms
        self._models: dict[str, _WatchedModel] = {}
        self._lost: Counter[str] = Counter()  # observations by digests without a contract

    def watch(self, digest: str) -> bool:
        """Know a model from now on, before its first observation; false, and nothing happens, without a contract."""
        if digest not in self._models:
            self._add_model(digest)
        return digest in self._models

    def knows(self, digest: str) -> bool:
        """Whether a model is watched; until its observations are lost, its contract is looked for."""
        return digest in self._models or (digest not in self._lost and self.watch(digest))

    def observe(self, batch: ObservationBatch) -> tuple[DriftReport, ...] | None:
        """Take in what one worker saw; the reports on the windows that it filled.

        None says that the model has no contract: its observations are lost, which is counted, and logged once.
        """
        if self.knows(batch.model):
            return tuple(self._models[batch.model].observe(batch))
        if batch.model not in self._lost:
            logger.warning("no contract for model %s: its observations are not watched", batch.model)
        self._lost[batch.model] += len(batch.observations) + batch.dropped
        return None

    def collect(self, now: float) -> list[Metric]:
        """The metrics of the period that ends now, in seconds since the epoch."""
        return [metric for model in self._models.values() for metric in model.collect(now)]

    def forget(self, digest: str, now: float) -> list[Metric]:
        """Watch a model no more, whose contract is gone; the last metrics of it."""
        model = self._models.pop(digest, None)
        if model is None:
            return []
        logger.info("watching %s (%s) no more", model.drift.contract.display_name, digest[:12])
        return model.collect(now)

    def status(self) -> dict[str, ModelStatus]:
        """The models' status by the archive's content digest: two archives may have one name."""
        return {digest: model.status() for digest, model in self._models.items()}

    def progress(self) -> dict[str, Progress]:
        """How far the watch over each model has come, by the archive's content digest."""
        return {digest: model.drift.progress for digest, model in self._models.items()}

    @property
    def lost(self) -> int:
        """The observations of models without a contract."""
        return self._lost.total()

    def _add_model(self, digest: str) -> None:
        contract = self._find_contract(digest)
        if contract is None:
            return
        self._models[digest] = _WatchedModel(
            DriftWatch(contract, self._window_size, self._windows_between_false_alarms),
            Aggregator(common_dimensions(self._endpoint_name, self._variant_name, contract.display_name)),
        )
        logger.info("watching %s (%s)", contract.display_name, digest[:12])


class _WatchedModel:
    """One model's counters, metrics and last report."""

    def __init__(self, drift: DriftWatch, aggregator: Aggregator) -> None:
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
                self._record_report(report)
                reports.append(report)
        return reports

    def collect(self, now: float) -> list[Metric]:
        # Every period, or an alarm at low traffic would have no data and end by that.
        if (report := self._last.get("window")) is not None:
            self._aggregator.sample(metrics.DRIFT_STATE, float(self._state is Verdict.DRIFT))
            self._aggregator.sample(metrics.WINDOW_AGE, max(0.0, now - report.ended_at))
        return self._aggregator.drain(now)

    def status(self) -> ModelStatus:
        return ModelStatus(
            name=self.drift.contract.display_name,
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
            last_report=self._last.get("window"),
            last_long_report=self._last.get("long window"),
        )

    @property
    def _state(self) -> Verdict:
        """DRIFT until both the last window and the last long one are calm: a small drift only the long ones see."""
        verdicts = {report.verdict for report in self._last.values()}
        if not verdicts:
            return Verdict.INSUFFICIENT_DATA
        return Verdict.DRIFT if Verdict.DRIFT in verdicts else Verdict.OK

    def _exclusion(self, observation: Observation) -> str | None:
        """Why an observation enters no window, if it does not."""
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
    """What moved, and what it may cost; empty where nothing did."""
    if not report.drifted_features:
        return ""
    return (
        f" of {', '.join(report.shifts)} ({', '.join(report.drifted_features)}); accuracy estimated at "
        f"{report.estimated_accuracy:.3f}, {report.reference_accuracy:.3f} on the reference"
    )
