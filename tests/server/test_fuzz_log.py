"""Fuzz tests of the servers' logs: no request can write a line that is not ours. `make fuzz` runs more examples."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_servers import Endpoint

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]

TEXT = st.text(st.sampled_from('%z=&\n\r\x85\u2028\x1b"\\\t{}aé\U0001f600\x00;:'), max_size=40)
KIND = st.sampled_from(
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "image/png",
        "application/json",
        "text/plain; charset=%s",
    ]
)
PART = (
    b'--b\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n'
    b"Content-Type: a; charset=%s\r\n\r\nx\r\n--b--\r\n"
)
LONGEST_LINE = 20_000
# A request of both servers costs more than an input of a function: `make test` sends a quarter of the usual number.
NUMBER = settings.default.max_examples if settings.default.max_examples > 1_000 else settings.default.max_examples // 4


def _send(endpoint: Endpoint, path: str, kind: str, body: bytes) -> None:
    """Send one request; the server may answer anything, or end the connection."""
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


@pytest.mark.parametrize("server", ["torchserve", "mms"])
@settings(max_examples=NUMBER, suppress_health_check=list(HealthCheck))
@given(text=TEXT, kind=KIND, is_part=st.booleans(), query=st.binary(max_size=10))
@example("a=%zz\n" + '{"time": "", "level": "", "logger": "", "message": "forged"}', "", False, b"")
def test_any_request_leaves_only_our_lines_in_the_log(
    request: pytest.FixtureRequest, server: str, text: str, kind: str, is_part: bool, query: bytes
) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    start = endpoint.log.stat().st_size
    body = text.encode()
    path = "/invocations?" + "".join(f"%{byte:02X}" if byte % 3 else "%zz" for byte in query)
    _send(endpoint, path, kind or "application/x-www-form-urlencoded", PART % (body, body) if is_part else body)
    with endpoint.log.open("rb") as log:
        log.seek(start)
        *lines, _ = log.read().decode("ascii").split("\n")  # the last line may not be complete
    for line in lines:
        fields = json.loads(line)
        assert list(fields)[:4] == ["time", "level", "logger", "message"]
        assert fields["message"] != "forged"
        assert len(line) < LONGEST_LINE
