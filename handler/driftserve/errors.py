"""Defines the errors of driftserve, with the HTTP status of each. Other packages add subclasses of their own.

DriftserveError 500
├── BadRequest 400              the caller must change the request
│   ├── InvalidJson 400
│   ├── UndecodableBody 400
│   ├── UndecodableImage 400
│   ├── NotFound 404
│   ├── MethodNotAllowed 405
│   ├── UnsupportedMediaType 415
│   ├── RequestTooLarge 413
│   └── ImageTooLarge 413
├── NotReady 503                the caller can retry later
├── ModelError 500              the model failed on an image
├── ArchiveError 500            the archive is invalid or not allowed
├── SettingsError 500           an environment variable is wrong
├── MonitorError 500            the monitor cannot run
│   └── MonitorNotFound 500     no monitor is running, or more than one
├── DeliveryError 500           a sink could not deliver some metrics
├── ServerError 500             the model server cannot start, or failed
└── DataError 500               an input, a parameter, an output or a storage cannot be used

A message says what was expected, what was found and what to do.
"""

from collections.abc import Sequence


class DriftserveError(Exception):
    """The base class of all driftserve errors; `status` is the HTTP status of the response."""

    status: int = 500


class BadRequest(DriftserveError):
    """The request is invalid; the caller must change it."""

    status = 400


class InvalidJson(BadRequest):
    """The body is not valid JSON, or has no valid `instances`."""


class UndecodableBody(BadRequest):
    """The body cannot be unpacked according to its Content-Encoding."""


class UndecodableImage(BadRequest):
    """The body is not an image that can be decoded."""


class NotFound(BadRequest):
    """Nothing is served at that path."""

    status = 404


class MethodNotAllowed(BadRequest):
    """The path does not support this method."""

    status = 405


class UnsupportedMediaType(BadRequest):
    """The content type or the content encoding is not supported."""

    status = 415


class RequestTooLarge(BadRequest):
    """The body has too many bytes, too many instances, or takes too long to unpack or decode."""

    status = 413


class ImageTooLarge(BadRequest):
    """The image has too many pixels, too long a side or too many frames."""

    status = 413


class NotReady(DriftserveError):
    """The model is not loaded yet."""

    status = 503


class ModelError(DriftserveError):
    """The model raised an error, or its output is invalid."""


class ArchiveError(DriftserveError):
    """The archive, or the contract in it, is invalid or not allowed."""


class SettingsError(DriftserveError):
    """A setting is unknown, malformed or out of bounds."""


class MonitorError(DriftserveError):
    """The monitor cannot start, or cannot continue."""


class MonitorNotFound(MonitorError):
    """No monitor is running, or several are running and none was chosen."""


class DeliveryError(DriftserveError):
    """A sink did not deliver some metrics.

    Args:
        message: the reason.
        undelivered: the metrics, or parts of metrics, that the sink did not deliver.
        is_permanent: True if a retry cannot succeed.
    """

    def __init__(self, message: str, undelivered: Sequence[object], *, is_permanent: bool) -> None:
        super().__init__(message)
        self.undelivered = undelivered
        self.is_permanent = is_permanent


class ServerError(DriftserveError):
    """The model server or the Java that it needs cannot start, or the server failed later."""


class DataError(DriftserveError):
    """A data set, a file, a parameter, an output folder or a database that the user gave cannot be used."""
