"""Observations as log lines, where a log is all that outlives the process, and the way back to a record."""

import json
import logging
from collections.abc import Iterable, Iterator

from driftserve.drift.report import Verdict
from driftserve.errors import DataError
from driftserve.observations.observation import Observation, batch_from_bytes, encoded_batch, observation_to_bytes

# The logger of these lines marks them in a function's log. Logs that were exported earlier hold it: it never changes.
LOGGER_NAME = "driftserve.observation_log"
logger = logging.getLogger(LOGGER_NAME)

# Of observations, in one line: CloudWatch Logs takes 256 kB (1 MB in newer documents), the other fields and all.
MAX_LINE_BYTES = 100_000
_MARK = f'"logger": "{LOGGER_NAME}"'.encode()  # as `JsonFormatter` writes it; within a message it would be escaped


class ObservationLog:
    """Writes what was observed of one model, a line a call: more only where a line would be too long for the log."""

    def __init__(self, model: str) -> None:
        """Log for the archive digest `model`, whatever level the operator set: a lost line is a hole in a window."""
        logger.setLevel(logging.INFO)
        self._model = model

    def write(self, answered_at: float, observations: Iterable[Observation], state: Verdict) -> None:
        """Log a batch as `observations`, beside the state of the windows that this process alone could form."""
        for part in _parts(map(observation_to_bytes, observations)):
            document = json.loads(encoded_batch(self._model, answered_at, 0, part))
            logger.info("observed %d", len(part), extra={"state": state.value, "observations": document})


def batches_in_log(lines: Iterable[bytes]) -> list[bytes]:
    """The batches in a log, each once, in the order of their time: lines as `replay` takes them.

    All else that a function's log holds is passed over, and so is what the export put before a line.

    Args:
        lines: in any order, of any number of functions' environments.

    Raises:
        DataError: a line of observations is torn, or there is none at all.
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
            f"expected lines with {_MARK.decode()}, got none in {number}; export the log's messages as they are"
        )
    return sorted(answered_at, key=answered_at.__getitem__)


def _parts(observations: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The observations, in order, a line's worth at a time; one that is too long stands alone."""
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
