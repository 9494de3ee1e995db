"""Writes log records as JSON lines, which CloudWatch Logs Insights and `jq` can read."""

import json
import logging
import sys
import threading
from datetime import datetime, timezone

logger = logging.getLogger(__name__)

# The keys that a logging call may pass as `extra=`.
EXTRA_FIELDS = ("request_id", "model", "metrics", "state", "observations")


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object on one line.

    The fields are `time` (UTC, to the millisecond), `level`, `logger` and `message`, then those of `EXTRA_FIELDS` that
    the record has, and at the end `exception`, the traceback as one string, if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of ASCII."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        fields |= {name: getattr(record, name) for name in EXTRA_FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def log_uncaught() -> None:
    """Log every exception that ends a thread or the process."""
    sys.excepthook = lambda kind, error, trace: logger.critical("uncaught exception", exc_info=(kind, error, trace))

    def log_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None:
            name = ended.thread.name if ended.thread else "unknown"
            logger.critical("uncaught exception in thread %s", name, exc_info=ended.exc_value)

    threading.excepthook = log_thread


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # the arguments do not match; logging would print several lines
        return f"{record.msg} {record.args!r}"
