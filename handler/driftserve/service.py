"""The request path: bodies in, answers out, observations on the side."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from driftserve.contract import Contract
from driftserve.decode import decode
from driftserve.errors import ArchiveError, BadRequest, DriftserveError, ModelError, UnsupportedMediaType
from driftserve.features import feature_names, features
from driftserve.model import Model, ModelOutput
from driftserve.observation import Observation
from driftserve.prediction import Prediction, calibrate, to_prediction
from driftserve.preprocess import preprocess

logger = logging.getLogger(__name__)

IMAGE_TYPES = ("image/*", "application/x-image", "application/octet-stream")

Observe = Callable[[tuple[Observation, ...]], None]


@dataclass(frozen=True)
class Request:
    """One request of a server batch; one marked as test is answered, but not observed."""

    body: bytes
    content_type: str
    request_id: str
    is_test: bool = False


@dataclass(frozen=True)
class Response:
    """The HTTP status and the JSON object to answer with."""

    status: int
    body: dict[str, object]


@dataclass
class _Item:
    """A request on its way: what is known of it so far."""

    request: Request
    latency_ms: dict[str, float] = field(default_factory=dict)
    image: npt.NDArray[np.uint8] | None = None
    prediction: Prediction | None = None
    features: tuple[float, ...] | None = None
    error: DriftserveError | None = None


class Service:
    """Answers requests with a model by its contract, and says what it saw.

    Args:
        contract: what the archive promises.
        model: the archive's network.
        observe: takes the observations of a batch; None where nobody watches.
        max_image_pixels: most pixels of an image that is decoded.
    """

    def __init__(self, contract: Contract, model: Model, observe: Observe | None, max_image_pixels: int) -> None:
        self._contract = contract
        self._model = model
        self._observe = observe
        self._max_image_pixels = max_image_pixels
        self._identity = {"name": contract.name, "version": contract.version}

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        """One response a request, in order. A bad request fails alone, with its own status."""
        started = time.perf_counter()
        items = [self._decoded(request) for request in requests]
        good = [item for item in items if item.image is not None]
        if good:
            self._classify(good)
        total_ms = _milliseconds_since(started)
        responses = [self._response(item) for item in items]
        self._tell(items, responses, total_ms)
        return responses

    def _decoded(self, request: Request) -> _Item:
        item = _Item(request)
        started = time.perf_counter()
        try:
            _check_content_type(request.content_type)
            item.image = decode(request.body, self._max_image_pixels)
        except BadRequest as error:
            item.error = error
        item.latency_ms["decode"] = _milliseconds_since(started)
        return item

    def _classify(self, items: Sequence[_Item]) -> None:
        """Fill in the predictions of items that have an image, as one batch."""
        started = time.perf_counter()
        pixels = preprocess([item.image for item in items if item.image is not None], self._contract.image_spec)
        preprocess_ms = _milliseconds_since(started)
        started = time.perf_counter()
        try:
            output = self._model(pixels)
        except ModelError as error:
            logger.exception("the model failed on a batch of %d", len(items))
            for item in items:
                item.error = error
            return
        probabilities = calibrate(output.logits, self._contract.temperature)
        model_ms = _milliseconds_since(started)
        for item, row in zip(items, probabilities, strict=True):
            item.latency_ms |= {"preprocess": preprocess_ms, "model": model_ms}
            if np.isfinite(row).all():
                item.prediction = to_prediction(row, self._contract.labels)
            else:
                item.error = ModelError("the network gave no finite numbers for this image")
        self._measure(items, pixels, probabilities, output)

    def _measure(
        self,
        items: Sequence[_Item],
        pixels: npt.NDArray[np.uint8],
        probabilities: npt.NDArray[np.float64],
        output: ModelOutput,
    ) -> None:
        watched = [index for index, item in enumerate(items) if item.prediction and not item.request.is_test]
        if self._observe is None or not watched:
            return
        try:
            rows = features(pixels[watched], probabilities[watched], output.embedding[watched])
        except Exception:  # watching may never break serving
            logger.exception("the features of a batch failed")
            return
        for index, row in zip(watched, rows, strict=True):
            if np.isfinite(row).all():
                items[index].features = tuple(row.tolist())

    def _response(self, item: _Item) -> Response:
        if item.prediction is not None:
            return Response(
                200, asdict(item.prediction) | {"model": self._identity, "request_id": item.request.request_id}
            )
        error = item.error or ModelError("no prediction was made")
        return error_response(error)

    def _tell(self, items: Sequence[_Item], responses: Sequence[Response], total_ms: float) -> None:
        if self._observe is None:
            return
        try:
            observations = tuple(
                Observation(
                    status=response.status,
                    latency_ms=item.latency_ms | {"total": total_ms},
                    label=item.prediction.label if item.prediction else None,
                    confidence=item.prediction.score if item.prediction else None,
                    features=item.features,
                )
                for item, response in zip(items, responses, strict=True)
                if not item.request.is_test
            )
            if observations:
                self._observe(observations)
        except Exception:  # watching may never break serving
            logger.exception("observing a batch failed")


def refuse_misfit(contract: Contract, model: Model) -> None:
    """Pass if the graph is the one that the contract describes: fail at start, not at the first request.

    Raises:
        ArchiveError: the sizes of the graph's outputs, or the features of the reference, are others.
    """
    output = model(preprocess([np.zeros((1, 1, 3), np.uint8)], contract.image_spec))
    expected = ((1, len(contract.labels)), (1, contract.embedding_size))
    if (got := (output.logits.shape, output.embedding.shape)) != expected:
        raise ArchiveError(f"model.pt: expected logits and embedding of shapes {expected}, got {got}; export it again")
    if contract.feature_names != (names := feature_names(contract.labels, contract.embedding_size)):
        raise ArchiveError(
            f"contract.json: expected a reference of {', '.join(names)}, got {', '.join(contract.feature_names)}; "
            "serve it with the driftserve that wrote it, or export it again"
        )


def error_response(error: DriftserveError) -> Response:
    """The response that tells the caller of an error."""
    return Response(error.status, {"error": {"type": type(error).__name__, "message": str(error)}})


def _check_content_type(content_type: str) -> None:
    media_type = content_type.split(";")[0].strip().lower()
    if not media_type.startswith("image/") and media_type not in IMAGE_TYPES:
        raise UnsupportedMediaType(
            f"expected a Content-Type of {', '.join(IMAGE_TYPES)}, got {content_type or 'none'!r}; "
            "with curl add -H 'Content-Type: image/jpeg'"
        )


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0
