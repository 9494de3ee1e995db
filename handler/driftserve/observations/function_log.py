"""Writes observations to the log of a Lambda function, and reads them back. Only the log outlives the process."""

import json
import logging
from collections.abc import Iterable, Iterator

from driftserve.drift.report import Verdict
from driftserve.errors import DataError
from driftserve.observations.observation import Observation, batch_from_bytes, encoded_batch, observation_to_bytes

# This logger's name marks the lines in a function's log. It must never change, since exported logs contain it.
LOGGER_NAME = "driftserve.observation_log"
logger = logging.getLogger(LOGGER_NAME)

# Most bytes of observations in one line. CloudWatch Logs accepts lines of 256 kB (1 MB in newer documents), with all
# fields.
MAX_LINE_BYTES = 100_000
# The field that marks a line of observations, as `JsonFormatter` writes it. In a message its quotes would be escaped.
_MARK = f'"logger": "{LOGGER_NAME}"'.encode()


class ObservationLog:
    """Writes one model's observations to the log: one line a call, or several if a line would be too long."""

    def __init__(self, model: str) -> None:
        """Log observations of the model whose archive has the content digest `model`.

        The operator's log level does not apply to these lines, since each lost line would leave a gap in a window.
        """
        logger.setLevel(logging.INFO)
        self._model = model

    def write(self, answered_at: float, observations: Iterable[Observation], state: Verdict) -> None:
        """Log a batch in the field `observations`, with the drift `state` of this process's own windows."""
        for part in _parts(map(observation_to_bytes, observations)):
            document = json.loads(encoded_batch(self._model, answered_at, 0, part))
            logger.info("observed %d", len(part), extra={"state": state.value, "observations": document})


def batches_in_log(lines: Iterable[bytes]) -> list[bytes]:
    """Return the distinct batches in a function's log, ordered by time, as lines that `replay` reads.

    Skip all other lines, and any text that the export put before a line.

    Args:
        lines: Log lines in any order, from any number of the function's execution environments.

    Raises:
        DataError: A line with observations is truncated, or no line has observations.
    """
    answered_at: dict[bytes, float] = {}
    number = 0
    for number, line in enumerate(lines, start=1):
        if _MARK not in line:
            continue
        try:
            document = json.loads(line[line.index(b"{") :])["observations"]
            batch = json.dumps(document, separators=(",", ":")).encode()
            answered_at[batch] = batch_from_bytes(batch).answered_at
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"line {number}: expected a log line with observations, got {line[:80]!r}") from error
    if not answered_at:
        raise DataError(
            f"expected lines with {_MARK.decode()}, got {number} lines without it; export the log messages unchanged"
        )
    return sorted(answered_at, key=answered_at.__getitem__)


def _parts(observations: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield groups of observations that fit into one line, in order. One that is too long has its own group."""
    part: list[bytes] = []
    size = 0
    for observation in observations:
        if part and size + len(observation) > MAX_LINE_BYTES:
            yield part
            part, size = [], 0
        part.append(observation)
        size += len(observation) + 1
    if part:
        yield part
