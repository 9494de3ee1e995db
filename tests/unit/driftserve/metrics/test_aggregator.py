from collections import Counter
from dataclasses import fields

from driftserve.archive.contract import Contract
from driftserve.metrics.aggregator import Aggregator
from driftserve.metrics.definitions import (
    CONFIDENCE,
    DEFINITIONS,
    DRIFT_P_VALUE,
    EXCLUSIONS,
    IMAGES,
    LOSS_CAUSES,
    LOST,
    LOST_OBSERVATIONS,
    all_series,
    common_dimensions,
)
from driftserve.observations.observation import PHASES
from driftserve.runtime.status import Losses


def test_a_period_contains_sums_and_distributions_and_the_next_starts_empty() -> None:
    aggregator = Aggregator(common_dimensions("scenes", "AllTraffic", "scenes/1"))
    for value in (0.50001, 0.9, 0.5):
        aggregator.count(IMAGES, 2)
        aggregator.sample(CONFIDENCE, value)
    images, confidence = aggregator.drain(7.0)
    assert (images.values, images.counts, images.timestamp) == ((6.0,), (1,), 7.0)
    assert (confidence.values, confidence.counts) == ((0.5, 0.9), (2, 1))
    assert aggregator.drain(8.0) == []


def test_every_series_is_listed_once_with_its_dimensions(contract: Contract) -> None:
    series = all_series(contract, "scenes", "AllTraffic")
    assert len(set(series)) == len(series)
    assert Counter(name for name, _ in series) == Counter(
        {definition.name: 1 for definition in DEFINITIONS}
        | {"Latency": len(PHASES), "PredictedClass": len(contract.labels)}
        | {"DriftStatistic": len(contract.feature_names) + 1, "DriftPValue": len(contract.feature_names) + 1}
        | {"ExcludedObservations": len(EXCLUSIONS)}
        | {"LostObservations": len(LOSS_CAUSES)}
    )
    common = (("EndpointName", "scenes"), ("VariantName", "AllTraffic"))
    assert (IMAGES.name, (*common, ("Model", "tiny/7"))) in series
    assert (DRIFT_P_VALUE.name, (*common, ("Model", "tiny/7"), ("Feature", "brightness"))) in series
    assert (LOST.name, (*common, ("Sink", "cloudwatch"))) in series
    assert (LOST_OBSERVATIONS.name, (*common, ("Cause", "queue_full"))) in series


def test_every_kind_of_loss_is_a_metric_except_a_gap_in_the_record() -> None:
    assert {*LOSS_CAUSES, "not_recorded"} == {field.name for field in fields(Losses)}


def test_a_metric_is_defined_once_and_documents_when_it_is_sent() -> None:
    assert len({definition.name for definition in DEFINITIONS}) == len(DEFINITIONS)
    assert all(definition.meaning and definition.when for definition in DEFINITIONS)
