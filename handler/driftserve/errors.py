"""Every error that driftserve raises on purpose.

DriftserveError 500
├── BadRequest 400              the caller can do something about it
│   ├── UndecodableImage 400
│   ├── UnsupportedMediaType 415
│   └── ImageTooLarge 413
├── NotReady 503                come back later
├── ModelError 500              the network itself failed
├── ArchiveError 500            the archive does not keep its contract
├── SettingsError 500           an environment variable is wrong
├── MonitorError 500            the monitor cannot run
│   └── MonitorNotFound 500     no monitor to ask, or more than one
├── ServerError 500             the model server cannot be started
└── DataError 500               the images given for training cannot be used

A message says what was expected, what came and what to do.
"""


class DriftserveError(Exception):
    """Something that driftserve can name; `status` is the HTTP status it answers with."""

    status: int = 500


class BadRequest(DriftserveError):
    """The request cannot be answered as it is."""

    status = 400


class UndecodableImage(BadRequest):
    """The body is no image that can be decoded."""


class UnsupportedMediaType(BadRequest):
    """The content type is none that is served."""

    status = 415


class ImageTooLarge(BadRequest):
    """The image has more pixels than are decoded."""

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


class ServerError(DriftserveError):
    """The model server, or the Java that it needs, cannot be started."""


class DataError(DriftserveError):
    """The data set is corrupt, incomplete, or leaks between its splits."""
