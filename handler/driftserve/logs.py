"""Log lines as JSON, so that CloudWatch Logs Insights and `jq` can read them."""

import json
import logging
import sys
import threading
from datetime import datetime, timezone

logger = logging.getLogger(__name__)

# What a logging call may give as `extra=`.
EXTRA_FIELDS = ("request_id", "model", "metrics", "state", "observations")


class JsonFormatter(logging.Formatter):
    """One JSON object a record, which never spans lines.

    `time` (UTC, in milliseconds), `level`, `logger` and `message`; then those of `EXTRA_FIELDS` that the record
    has, then `exception`, the traceback as one string.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, in ASCII."""
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
    """From now on, what ends a thread or the process by surprise is a log line too."""
    sys.excepthook = lambda kind, error, trace: logger.critical("the process ends", exc_info=(kind, error, trace))

    def log_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None:
            name = ended.thread.name if ended.thread else "unknown"
            logger.critical("thread %s ends", name, exc_info=ended.exc_value)

    threading.excepthook = log_thread


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # the arguments do not fit: logging would write a traceback in lines
        return f"{record.msg} {record.args!r}"
