import io
import json
import logging
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from driftserve.bootstrap import configure_logging
from driftserve.logs import JsonFormatter
from driftserve.metrics.definitions import Metric, Unit
from driftserve.metrics.sinks.log import LogSink
from driftserve.settings import Settings


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> logging.Logger:
    logger = logging.Logger("driftserve.test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_contains_time_level_logger_and_message(logger: logging.Logger, stream: io.StringIO) -> None:
    before = datetime.now(timezone.utc)
    logger.warning("%d images", 3)
    (line,) = _lines(stream)
    assert list(line) == ["time", "level", "logger", "message"]
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "driftserve.test", "3 images")
    said = datetime.strptime(str(line["time"]), "%Y-%m-%dT%H:%M:%S.%f%z")
    assert str(line["time"]).endswith("Z")
    assert abs((said - before).total_seconds()) < 5


def test_a_request_and_its_model_are_fields(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.info("answered", extra={"request_id": "r-1", "model": "scenes/1"})
    (line,) = _lines(stream)
    assert (line["request_id"], line["model"]) == ("r-1", "scenes/1")


def test_a_traceback_is_one_string_after_the_message(logger: logging.Logger, stream: io.StringIO) -> None:
    try:
        raise ValueError("bad\npixels")
    except ValueError:
        logger.exception("the model failed")
    (line,) = _lines(stream)
    assert list(line)[-1] == "exception"
    assert str(line["exception"]).startswith("Traceback (most recent call last):\n")
    assert str(line["exception"]).endswith("ValueError: bad\npixels")


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\u2028b", "a\x00b", "a\udcffb", "Höhle"])
def test_any_text_gives_one_ascii_line(logger: logging.Logger, stream: io.StringIO, text: str) -> None:
    logger.error("got %s", text)
    assert stream.getvalue().isascii()
    (line,) = _lines(stream)
    assert line["message"] == f"got {text}"


def test_arguments_that_do_not_match_the_format_are_shown(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.error("%d images", "three")
    (line,) = _lines(stream)
    assert line["message"] == "%d images ('three',)"


def test_each_model_has_a_line_with_its_metrics_as_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    common = (("EndpointName", "local"), ("VariantName", "AllTraffic"), ("Model", "scenes/1"))
    LogSink().emit(
        [
            Metric("Images", Unit.COUNT, common, (12.0,), (1,), 0.0),
            Metric("Latency", Unit.MILLISECONDS, (*common, ("Phase", "model")), (1.0, 4.0), (2, 1), 0.0),
            Metric("LostMetrics", Unit.COUNT, (*common[:2], ("Sink", "log")), (0.0,), (1,), 0.0),
        ]
    )
    images, lost = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert images["metrics"] == dict(common) | {"Images": 12.0, "Latency.model": 2.0}
    assert lost["metrics"] == dict(common[:2]) | {"LostMetrics.log": 0.0}


def test_two_archives_of_one_name_and_version_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    common = (("EndpointName", "local"), ("VariantName", "AllTraffic"), ("Model", "scenes/1"))
    LogSink().emit(
        [
            Metric("Images", Unit.COUNT, common, (number,), (1,), 0.0, source)
            for number, source in ((12.0, "a"), (3.0, "b"))
        ]
    )
    lines = [json.loads(line)["metrics"] for line in capsys.readouterr().err.splitlines()]
    assert [(line["Digest"], line["Images"]) for line in lines] == [("a", 12.0), ("b", 3.0)]


def test_libraries_log_from_warning_and_driftserve_from_its_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(Settings(log_level="DEBUG"))
    for name in ("botocore", "driftserve.monitoring.monitor"):
        logging.getLogger(name).debug("details")
        logging.getLogger(name).warning("trouble")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("botocore", "WARNING"),
        ("driftserve.monitoring.monitor", "DEBUG"),
        ("driftserve.monitoring.monitor", "WARNING"),
    ]


def test_an_uncaught_exception_in_a_process_or_thread_is_a_log_line() -> None:
    code = """
import threading
from driftserve.bootstrap import configure_logging
from driftserve.settings import Settings
configure_logging(Settings())
thread = threading.Thread(target=lambda: 1 / 0, name="receiver")
thread.start()
thread.join()
raise KeyError("lost")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, second = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 1
    assert first["message"] == "uncaught exception in thread receiver"
    assert "ZeroDivisionError" in first["exception"]
    assert second["level"] == "CRITICAL"
    assert "KeyError: 'lost'" in second["exception"]
