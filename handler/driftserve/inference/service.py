"""Answers requests: decodes and classifies their images, and passes an observation of each image to the monitor."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from driftserve.archive.contract import Contract
from driftserve.errors import BadRequest, DriftserveError, RequestTooLarge, UnsupportedMediaType
from driftserve.images.decode import DEFAULT_LIMITS, ImageLimits, count_pixels, decode
from driftserve.images.preprocess import preprocess
from driftserve.images.raster import to_raster
from driftserve.inference.classifier import Classifier, Item, milliseconds_since
from driftserve.inference.content_encoding import unpack
from driftserve.inference.instances import read_instances
from driftserve.inference.model import Model
from driftserve.inference.prediction import Prediction
from driftserve.observations.observation import Observation, image_id_of

logger = logging.getLogger(__name__)

IMAGE_TYPES = ("image/*", "application/x-image", "application/octet-stream")
JSON_TYPE = "application/json"

_LEAST_SHARE = 1e-3  # seconds in which the first image of a request is started; a started image is finished

Observe = Callable[[tuple[Observation, ...]], None]


@dataclass(frozen=True)
class RequestLimits:
    """Limits of a request: bytes of the unpacked body, instances in a JSON body, image size.

    `max_decode_seconds` is the processor time for unpacking and decoding the bodies of a batch; its requests share it.
    """

    max_bytes: int = 25 * 1024 * 1024
    max_instances: int = 64
    max_decode_seconds: float = 5.0
    image: ImageLimits = DEFAULT_LIMITS


@dataclass(frozen=True)
class Request:
    """One request of a server's batch. A request marked as test is answered and counted, but enters no drift window.

    `content_type` and `content_encoding` are the headers' values; they are empty if the request does not have them.
    """

    body: bytes
    content_type: str
    request_id: str
    is_test: bool = False
    content_encoding: str = ""


@dataclass(frozen=True)
class Response:
    """The HTTP status and the JSON object to answer with."""

    status: int
    body: dict[str, object]


@dataclass(frozen=True)
class _ReadRequest:
    """A request and its images: one image, or those of a JSON body; one failed item if the request is unreadable."""

    request: Request
    items: tuple[Item, ...]
    is_list: bool = False


class Service:
    """Answers requests with a model, and passes on observations of their images.

    Args:
        contract: the archive's contract.
        model: the archive's model.
        observe: takes the observations of a batch; None if there is no monitor.
        limits: the limits of each request.
    """

    def __init__(self, contract: Contract, model: Model, observe: Observe | None, limits: RequestLimits) -> None:
        self._contract = contract
        self._classifier = Classifier(contract, model)
        self._observe = observe
        self._limits = limits
        self._identity = {"name": contract.name, "version": contract.version}

    @property
    def model_name(self) -> str:
        """`name/version`, as logs show it."""
        return self._contract.display_name

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        """Return one response per request, in order.

        The images of all requests go through the model together. If a request, image or instance is bad, only that one
        gets an error, with its own status.
        """
        started = time.perf_counter()
        batch = self._read_batch(requests)
        items = self._classifier.classify([item for read in batch for item in read.items])
        in_order = iter(items)
        classified = [replace(read, items=tuple(islice(in_order, len(read.items)))) for read in batch]
        responses = [self._response(read) for read in classified]
        total_ms = milliseconds_since(started)
        self._send_observations(items, total_ms)
        for request, response in zip(requests, responses, strict=True):
            self._log(request, response, total_ms)
        return responses

    def _read_batch(self, requests: Sequence[Request]) -> list[_ReadRequest]:
        """Read requests, those with small images first; each gets an equal share of the decoding time that is left.

        So a request with images that are slow to decode can delay the others of its batch, but hardly displace them.
        """
        ends = time.thread_time() + self._limits.max_decode_seconds
        read: dict[int, _ReadRequest] = {}
        places = list(range(len(requests)))
        if len(requests) > 1:
            places.sort(key=lambda place: _expected_cost(requests[place]))
        for place in places:
            left = ends - time.thread_time()
            share = max(_LEAST_SHARE, left / (len(requests) - len(read))) if left > 0 else 0.0
            read[place] = self._read(requests[place], share)
        return [read[place] for place in range(len(requests))]

    def _read(self, request: Request, seconds: float) -> _ReadRequest:
        """Read a request; give up unpacking, or start no further image, after so many seconds of processor time."""
        started = time.perf_counter()
        try:
            _check_size(request.body, self._limits.max_bytes)
            is_json = _is_json(request.content_type)
            deadline = time.thread_time() + seconds
            body = unpack(request.body, request.content_encoding, self._limits.max_bytes, deadline)
            if not is_json:
                return _ReadRequest(request, self._read_images([body], request.is_test, deadline))
            instances = read_instances(body, self._limits.max_instances)
            deadline = time.thread_time() + seconds  # the size of a body limits the time to parse it
        except BadRequest as error:
            return _ReadRequest(request, (self._failed(error, request.is_test, started),))
        return _ReadRequest(request, self._read_images(instances, request.is_test, deadline), is_list=True)

    def _read_images(self, bodies: Iterable[bytes | BadRequest], is_test: bool, deadline: float) -> tuple[Item, ...]:
        """Return the items of the images of a request.

        The total decoding time is limited, because even an image of a few kilobytes can take a second. It ends at the
        deadline, a value of `time.thread_time`.
        """
        too_much = RequestTooLarge(
            f"expected the images of a batch to take at most {self._limits.max_decode_seconds} s of processor time to "
            "decode, but they take longer; send fewer or smaller images, or send this request again"
        )
        return tuple(self._read_image(body if time.thread_time() < deadline else too_much, is_test) for body in bodies)

    def _read_image(self, body: bytes | BadRequest, is_test: bool) -> Item:
        """Return an item with pixels or an error.

        The decoded image itself is not kept, because the large images of 64 instances would fill the memory.
        """
        started = time.perf_counter()
        if isinstance(body, BadRequest):
            return self._failed(body, is_test, started)
        try:
            image = decode(body, self._limits.image)
        except BadRequest as error:
            return self._failed(error, is_test, started)
        decode_ms, started = milliseconds_since(started), time.perf_counter()
        pixels = preprocess([image], self._contract.image_spec)
        preprocess_ms = milliseconds_since(started)
        is_watched = self._observe is not None and not is_test
        return Item(
            is_watched=self._observe is not None,
            is_test=is_test,
            image_id=image_id_of(body) if is_watched else None,
            latency_ms={"decode": decode_ms, "preprocess": preprocess_ms},
            pixels=pixels,
            raster=to_raster(image) if is_watched else None,
        )

    def _failed(self, error: BadRequest, is_test: bool, started: float) -> Item:
        """Return an item without pixels, for an image or request that cannot be read.

        `started` is when the reading began, a value of `time.perf_counter`.
        """
        latency_ms = {"decode": milliseconds_since(started)}
        return Item(is_watched=self._observe is not None, is_test=is_test, latency_ms=latency_ms, error=error)

    def _response(self, read: _ReadRequest) -> Response:
        origin = {"model": self._identity, "request_id": read.request.request_id}
        first = read.items[0]
        if not read.is_list:
            if first.prediction is None:
                return error_response(first.failure)
            return Response(200, _prediction_body(first.prediction) | origin)
        answers = [
            _error_body(item.failure) if item.prediction is None else _prediction_body(item.prediction)
            for item in read.items
        ]
        body: dict[str, object] = {"predictions": answers, **origin}
        if all(item.prediction is None for item in read.items):
            return Response(first.status, _error_body(first.failure) | body)
        return Response(200, body)

    def _send_observations(self, items: Iterable[Item], total_ms: float) -> None:
        if self._observe is None:
            return
        try:
            observations = tuple(_observation(item, total_ms) for item in items if item.is_watched)
            if observations:
                self._observe(observations)
        except Exception:  # watching must never break serving
            logger.exception("observing a batch failed", extra={"model": self.model_name})

    def _log(self, request: Request, response: Response, total_ms: float) -> None:
        level = logging.DEBUG if response.status < 400 else logging.INFO if response.status < 500 else logging.ERROR
        if not logger.isEnabledFor(level):
            return
        error = response.body.get("error")
        logger.log(
            level,
            "answered %d in %.1f ms%s",
            response.status,
            total_ms,
            f": {error['type']}: {error['message']}" if isinstance(error, dict) else "",
            extra={"request_id": request.request_id, "model": self.model_name},
        )


def error_response(error: DriftserveError) -> Response:
    """Return the response for an error."""
    return Response(error.status, _error_body(error))


def _error_body(error: DriftserveError) -> dict[str, object]:
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def _prediction_body(prediction: Prediction) -> dict[str, object]:
    return {"label": prediction.label, "score": prediction.score, "probabilities": prediction.probabilities}


def _observation(item: Item, total_ms: float) -> Observation:
    return Observation(
        status=item.status,
        latency_ms={**item.latency_ms, "total": total_ms},
        label=item.prediction.label if item.prediction else None,
        confidence=item.prediction.score if item.prediction else None,
        features=item.features,
        image_id=item.image_id,
        is_test=item.is_test,
    )


def _expected_cost(request: Request) -> tuple[bool, int]:
    """Return a key that sorts requests: one image before JSON and encoded bodies; by pixels, or by length."""
    is_json = request.content_type.split(";")[0].strip().lower() == JSON_TYPE
    if is_json or request.content_encoding:
        return True, len(request.body)
    return False, count_pixels(request.body)


def _check_size(body: bytes, max_bytes: int) -> None:
    if len(body) > max_bytes:
        raise RequestTooLarge(f"expected a body of at most {max_bytes} bytes, got {len(body)}; send a smaller one")


def _is_json(content_type: str) -> bool:
    """Return whether the body is JSON, according to its content type; False if it is an image.

    Raises:
        UnsupportedMediaType: the content type is neither.
    """
    media_type = content_type.split(";")[0].strip().lower()
    if not media_type.startswith("image/") and media_type not in (*IMAGE_TYPES, JSON_TYPE):
        raise UnsupportedMediaType(
            f"expected a Content-Type of {', '.join(IMAGE_TYPES)} or {JSON_TYPE}, got {content_type or 'none'!r}; "
            "set it, with curl by -H 'Content-Type: image/jpeg'"
        )
    return media_type == JSON_TYPE
