"""The watch over a container's models: windows become reports, reports become metrics."""

import logging
import threading
from collections.abc import Callable

from driftserve import metrics
from driftserve.contract import Contract
from driftserve.drift import detect_drift
from driftserve.metrics import Aggregator, Metric
from driftserve.observation import Observation, ObservationBatch
from driftserve.report import DriftReport, ModelStatus, Verdict
from driftserve.window import TumblingWindow

logger = logging.getLogger(__name__)

_SMALLEST_P_VALUE = 1e-100  # as a metric: CloudWatch refuses numbers closer to zero than 8.5e-109


class Monitor:
    """Merges the observations of all workers, a model at a time; safe to use from two threads.

    Args:
        find_contract: gives the contract of an archive digest, or None while there is none.
        endpoint_name: the dimension `EndpointName` of every metric.
        variant_name: the dimension `VariantName` of every metric.
    """

    def __init__(self, find_contract: Callable[[str], Contract | None], endpoint_name: str, variant_name: str) -> None:
        self._find_contract = find_contract
        self._endpoint_name = endpoint_name
        self._variant_name = variant_name
        self._models: dict[str, _WatchedModel] = {}
        self._lock = threading.Lock()

    def observe(self, batch: ObservationBatch) -> None:
        """Take in what one worker saw. Observations of a model without contract are lost, and said so."""
        with self._lock:
            model = self._models.get(batch.model) or self._add_model(batch.model)
            if model is not None:
                model.observe(batch)

    def collect(self, now: float) -> list[Metric]:
        """The metrics of the period that ends now, in seconds since the epoch."""
        with self._lock:
            return [metric for model in self._models.values() for metric in model.collect(now)]

    def status(self) -> dict[str, ModelStatus]:
        """The models' status by `name/version`."""
        with self._lock:
            return {model.contract.display_name: model.status() for model in self._models.values()}

    def _add_model(self, digest: str) -> "_WatchedModel | None":
        contract = self._find_contract(digest)
        if contract is None:
            logger.warning("no contract for model %s: its observations are not watched", digest)
            return None
        logger.info("watching %s (%s)", contract.display_name, digest[:12])
        model = self._models[digest] = _WatchedModel(
            contract, Aggregator(self._endpoint_name, self._variant_name, contract.display_name)
        )
        return model


class _WatchedModel:
    """One model's window, counters and last report."""

    def __init__(self, contract: Contract, aggregator: Aggregator) -> None:
        self.contract = contract
        self._aggregator = aggregator
        self._window = TumblingWindow(contract.drift.window_size)
        self._windows = self._alarms = self._observations = self._dropped = 0
        self._last_report: DriftReport | None = None

    def observe(self, batch: ObservationBatch) -> None:
        self._dropped += batch.dropped
        self._aggregator.count(metrics.DROPS, batch.dropped)
        for observation in batch.observations:
            self._measure(observation)
            if observation.features is not None:
                self._watch(observation.features)

    def collect(self, now: float) -> list[Metric]:
        if self._last_report is not None:
            self._aggregator.sample(metrics.DRIFT_STATE, float(self._last_report.verdict is Verdict.DRIFT))
        return self._aggregator.drain(now)

    def status(self) -> ModelStatus:
        return ModelStatus(
            state=self._last_report.verdict if self._last_report else Verdict.INSUFFICIENT_DATA,
            windows=self._windows,
            alarms=self._alarms,
            observations=self._observations,
            dropped=self._dropped,
            last_report=self._last_report,
        )

    def _measure(self, observation: Observation) -> None:
        add = self._aggregator
        add.count(metrics.REQUESTS, 1)
        add.count(metrics.ERRORS, int(observation.status >= 400))
        for phase, milliseconds in observation.latency_ms.items():
            add.sample(metrics.LATENCY, milliseconds, phase)
        if observation.label is not None and observation.confidence is not None:
            add.count(metrics.PREDICTED_CLASS, 1, observation.label)
            add.sample(metrics.CONFIDENCE, observation.confidence)

    def _watch(self, features: tuple[float, ...]) -> None:
        if len(features) != len(self.contract.reference):
            logger.error("expected %d features, got %d: not watched", len(self.contract.reference), len(features))
            return
        self._observations += 1
        self._aggregator.count(metrics.OBSERVATIONS, 1)
        window = self._window.add(features)
        if window is None:
            return
        report = detect_drift(window, self.contract.reference, self.contract.drift.level)
        self._last_report = report
        self._windows += 1
        self._alarms += report.verdict is Verdict.DRIFT
        for test in report.tests:
            self._aggregator.sample(metrics.DRIFT_STATISTIC, test.statistic, test.feature)
            self._aggregator.sample(metrics.DRIFT_P_VALUE, max(test.p_value, _SMALLEST_P_VALUE), test.feature)
        logger.log(
            logging.WARNING if report.verdict is Verdict.DRIFT else logging.INFO,
            "%s window %d: %s%s",
            self.contract.display_name,
            self._windows,
            report.verdict.value,
            f" ({', '.join(report.drifted_features)})" if report.drifted_features else "",
        )
