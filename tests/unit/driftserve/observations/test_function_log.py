import json

import pytest

from driftserve.drift.report import Verdict
from driftserve.errors import DataError
from driftserve.logs import JsonFormatter
from driftserve.observations.function_log import MAX_LINE_BYTES, ObservationLog, batches_in_log
from driftserve.observations.observation import Observation, ObservationBatch, batch_from_bytes
from observation_datagrams import to_datagram

DIGEST = "d" * 64
EMF = b'{"_aws":{"Timestamp":1,"CloudWatchMetrics":[]},"Images":1}\n'
OTHERS = [
    b"START RequestId: 8286a188 Version: $LATEST\n",
    EMF,
    b"\n",
    b'{"time": "t", "level": "INFO", "logger": "driftserve.inference.service", "message": "answered 400"}\n',
    b'{"time":"t","type":"platform.report","record":{"requestId":"8286a188"}}\n',
    b"REPORT RequestId: 8286a188\tDuration: 1.00 ms\n",
    # a caller's input inside a message
    json.dumps({"message": '{"logger": "driftserve.observation_log", "observations": {}}'}).encode() + b"\n",
]


def _observations(*features: float) -> list[Observation]:
    return [
        Observation(200, {"total": 0.1}, "red", 1 / 3, (feature, 2e-17), f"id-{feature}", is_test=feature < 0)
        for feature in features
    ]


def _logged(caplog: pytest.LogCaptureFixture, *batches: tuple[float, list[Observation]]) -> list[bytes]:
    caplog.clear()
    log = ObservationLog(DIGEST)
    for answered_at, observations in batches:
        log.write(answered_at, observations, Verdict.INSUFFICIENT_DATA)
    return [JsonFormatter().format(record).encode() + b"\n" for record in caplog.records]


def test_a_logged_batch_is_read_back_byte_for_byte(caplog: pytest.LogCaptureFixture) -> None:
    observations = [*_observations(0.1, -0.2), Observation(400, {"decode": 3.0})]
    (line,) = _logged(caplog, (1e9 + 0.123456, observations))
    assert batches_in_log([line]) == [to_datagram(ObservationBatch(DIGEST, 1e9 + 0.123456, tuple(observations)))]
    document = json.loads(line)
    assert list(document) == ["time", "level", "logger", "message", "state", "observations"]
    assert document["state"] == "INSUFFICIENT_DATA"
    assert document["logger"] == "driftserve.observation_log"  # a fixed mark: it finds exported logs


def test_other_lines_of_a_function_log_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    one, two = _logged(caplog, (1.0, _observations(0.1)), (2.0, _observations(0.2)))
    assert batches_in_log([*OTHERS, one, *OTHERS, two]) == batches_in_log([one, two])


@pytest.mark.parametrize(
    "prefix", [b"2026-11-23T12:00:00.000Z ", b"2026-11-23T12:00:00 2026/11/23/[$LATEST]ab12 ", b"\t"]
)
def test_prefixes_that_an_export_adds_to_lines_are_ignored(caplog: pytest.LogCaptureFixture, prefix: bytes) -> None:
    (line,) = _logged(caplog, (1.0, _observations(0.1)))
    assert batches_in_log([prefix + line]) == batches_in_log([line])


def test_batches_are_sorted_by_time_without_duplicates(caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = _logged(caplog, *((float(time), _observations(time / 10)) for time in (1, 2, 3)))
    assert batches_in_log([three, one, two, one, three]) == batches_in_log([one, two, three])
    assert [batch_from_bytes(batch).answered_at for batch in batches_in_log([three, one, two])] == [1, 2, 3]


def test_a_line_is_never_too_long_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    observations = [
        Observation(200, {}, "red", 0.5, tuple(place + column / 7 for column in range(900)), str(place))
        for place in range(30)
    ]
    lines = _logged(caplog, (1.0, observations))
    assert len(lines) > 2
    assert max(map(len, lines)) < 1.3 * MAX_LINE_BYTES
    back = [observation for batch in batches_in_log(lines) for observation in batch_from_bytes(batch).observations]
    assert back == observations


def test_an_incomplete_line_is_an_error_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = _logged(caplog, (1.0, _observations(0.1)))
    for torn in (line[:-30], line.replace(b'"status"', b'"state"'), line.replace(b'"observations": {', b'"other": {')):
        with pytest.raises(DataError, match="line 9: expected a log line with observations"):
            batches_in_log([*OTHERS, line, torn])


def test_a_file_that_is_not_a_function_log_is_refused() -> None:
    with pytest.raises(DataError, match="got 7 lines without it"):
        batches_in_log(OTHERS)
    with pytest.raises(DataError, match="got 0 lines without it"):
        batches_in_log([])
