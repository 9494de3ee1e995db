"""Every error that driftserve raises on purpose.

DriftserveError 500
├── BadRequest 400              the caller can do something about it
│   ├── InvalidJson 400
│   ├── UndecodableImage 400
│   ├── NotFound 404
│   ├── MethodNotAllowed 405
│   ├── UnsupportedMediaType 415
│   ├── RequestTooLarge 413
│   └── ImageTooLarge 413
├── NotReady 503                come back later
├── ModelError 500              the network itself failed
├── ArchiveError 500            the archive does not keep its contract
├── SettingsError 500           an environment variable is wrong
├── MonitorError 500            the monitor cannot run
│   └── MonitorNotFound 500     no monitor to ask, or more than one
├── DeliveryError 500           a sink could not deliver some metrics
├── ServerError 500             the model server cannot be started
└── DataError 500               the images for training, or a record, cannot be used

A message says what was expected, what came and what to do.
"""

from collections.abc import Sequence


class DriftserveError(Exception):
    """Something that driftserve can name; `status` is the HTTP status it answers with."""

    status: int = 500


class BadRequest(DriftserveError):
    """The request cannot be answered as it is."""

    status = 400


class InvalidJson(BadRequest):
    """The JSON body is none, or does not hold instances as it should."""


class UndecodableImage(BadRequest):
    """The body is no image that can be decoded."""


class NotFound(BadRequest):
    """Nothing is served at that path."""

    status = 404


class MethodNotAllowed(BadRequest):
    """The path is served, by another method."""

    status = 405


class UnsupportedMediaType(BadRequest):
    """The content type is none that is served."""

    status = 415


class RequestTooLarge(BadRequest):
    """The body has more bytes, or more instances, than are taken."""

    status = 413


class ImageTooLarge(BadRequest):
    """The image has more pixels, longer sides or more frames than are decoded."""

    status = 413


class NotReady(DriftserveError):
    """The model is not loaded yet."""

    status = 503


class ModelError(DriftserveError):
    """The network raised, or gave an output of the wrong shape."""


class ArchiveError(DriftserveError):
    """The archive, or the contract in it, is not what it should be."""


class SettingsError(DriftserveError):
    """A setting is unknown, malformed or out of bounds."""


class MonitorError(DriftserveError):
    """The monitor cannot run, or cannot go on."""


class MonitorNotFound(MonitorError):
    """No monitor is running, or several are and none was chosen."""


class DeliveryError(DriftserveError):
    """A sink did not deliver some metrics.

    Args:
        message: why.
        undelivered: the metrics that the sink did not deliver, or the parts of them.
        is_permanent: whether to try again is in vain.
    """

    def __init__(self, message: str, undelivered: Sequence[object], *, is_permanent: bool) -> None:
        super().__init__(message)
        self.undelivered = undelivered
        self.is_permanent = is_permanent


class ServerError(DriftserveError):
    """The model server, or the Java that it needs, cannot be started."""


class DataError(DriftserveError):
    """A data set is corrupt, incomplete, or leaks between its splits; or a record cannot be read."""
