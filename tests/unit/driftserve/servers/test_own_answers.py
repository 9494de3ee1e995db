import json
import logging
import os
from typing import IO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftserve.logs import JsonFormatter
from driftserve.observations.observation import Observation
from driftserve.servers.own_answers import OwnAnswerReader

# Lines of TorchServe 0.12 and MMS 1.1.11.
LINES = b"""\
Model server started.
answer\tepollEventLoopGroup-3-2\t503
answer\tW-9000-tiny_7\t400
answer\tW-9001-tiny_7\t507
answer\tW-9001-tiny_7\town
answer\tW-9000-tiny\town
answer\tepollEventLoopGroup-3-2\t503
error\tepollEventLoopGroup-3-4\t java.lang.OutOfMemoryError: Cannot reserve 25165771 bytes of direct buffer...
error\tepollEventLoopGroup-3-4\t java.lang.IllegalArgumentException: invalid hex byte
"""


def _read(written: bytes) -> list[int]:
    """Return the statuses that the reader observes."""
    readable, writable = os.pipe()
    seen: list[Observation] = []
    stdout: IO[bytes] = os.fdopen(readable, "rb")
    reader = OwnAnswerReader(stdout, "tiny/7", seen.extend)
    reader.start()
    with os.fdopen(writable, "wb") as end:
        end.write(written)
    reader.join(10)
    assert not reader.is_alive()
    assert stdout.closed
    return [observation.status for observation in seen]


def test_only_the_servers_own_answers_are_observed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "driftserve")
    assert sorted(_read(LINES)) == [503, 503, 507, 507]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "the server itself answered 503 to 2 requests",
        "the server itself answered 507 to 2 requests",
        "the server wrote: Model server started.",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO", "ERROR"}


@pytest.mark.fuzz
@given(st.lists(st.sampled_from([b"answer", b"error", b"\t", b"own", b"W-1", b"507", b"-1", b"\n"]) | st.binary()))
@example([b"answer\tW-1\t\xff"])
@example([b"x" * 100_000])
def test_the_reader_reads_any_output_to_its_end_and_every_line_of_its_log_is_json(parts: list[bytes]) -> None:
    lines: list[str] = []

    class _List(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record))

    handler, log = _List(), logging.getLogger("driftserve.servers.own_answers")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        _read(b"".join(parts))
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    assert all(line.isascii() and "\n" not in line and len(line) < 5_000 for line in lines)
    assert all(isinstance(json.loads(line)["message"], str) for line in lines)
