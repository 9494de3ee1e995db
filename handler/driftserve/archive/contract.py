"""The contract of an archive, `contract.json`: what serving needs to know about a model that training exported."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from driftserve.archive.certificate import Certificate
from driftserve.archive.record import Record
from driftserve.errors import ArchiveError
from driftserve.validation import first_problem

SCHEMA_VERSION = 3
MODEL_FILE = "model.pt"
PROBABILITY_PREFIX = "probability."  # a feature's name is this prefix and a label; its value is the label's probability
MIN_GOLDEN_MARGIN = 0.1  # far more than a probability changes on another processor or with more threads
MOST_REFERENCE_IMAGES = 10_000  # more would make the archive larger, but the reference hardly better
MOST_REFERENCE_VALUES = 2_000_000  # images times features; 58 MB of JSON, if all numbers have the most digits
MOST_LABELS = 9_000  # each label is a feature, so that the reference has at least 200 images
WINDOWS_IN_LONG = 5  # number of windows that a long window joins
_SUM_TOLERANCE = 1e-6

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# TorchServe puts the name into a URL and a file name (model_packaging_utils.check_model_name_regex_or_exit).
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
ModelVersion = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class ImageSpec(Record):
    """How a decoded image becomes the network's input: resize the shorter side, crop the centre."""

    height: int = Field(gt=0, le=2048)
    width: int = Field(gt=0, le=2048)
    resize_shorter_side: int = Field(gt=0, le=4096)
    interpolation: Interpolation

    @model_validator(mode="after")
    def _crop_fits(self) -> "ImageSpec":
        if max(self.height, self.width) > self.resize_shorter_side:
            raise ValueError(
                f"expected resize_shorter_side >= {max(self.height, self.width)}, the crop's longer side, "
                f"got {self.resize_shorter_side}"
            )
        return self


class DriftPolicy(Record):
    """The size of a drift window, and the budget of false alarms.

    One half of the budget is for windows, the other for long windows, each of which joins `WINDOWS_IN_LONG` windows.
    """

    window_size: int = Field(default=200, ge=20, le=100_000)
    windows_between_false_alarms: int = Field(default=1000, ge=10)

    @property
    def level(self) -> float:
        """Probability that a window without drift raises an alarm, over all features together."""
        return 0.5 / self.windows_between_false_alarms

    @property
    def long_level(self) -> float:
        """The same probability for a long window; it is higher, because there are fewer long windows."""
        return WINDOWS_IN_LONG * self.level


class GoldenImage(Record):
    """A validation image in the archive and the model's prediction at export: the label, and one probability per label.

    The two highest probabilities are so far apart that small numerical differences cannot swap their order.
    """

    file: str = Field(pattern=r"^golden-[0-9]{2}\.png$")
    label: str
    probabilities: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _is_clear(self) -> "GoldenImage":
        if not all(0.0 <= value <= 1.0 for value in self.probabilities):
            lowest, highest = min(self.probabilities), max(self.probabilities)
            raise ValueError(f"{self.file}: expected probabilities in [0, 1], got {lowest} to {highest}")
        if abs((total := math.fsum(self.probabilities)) - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"{self.file}: expected probabilities that sum to 1, got a sum of {total:.6f}")
        if (margin := margin_of(self.probabilities)) <= MIN_GOLDEN_MARGIN:
            raise ValueError(f"{self.file}: expected a margin of more than {MIN_GOLDEN_MARGIN}, got {margin:.4f}")
        return self


class Contract(Record):
    """Everything that serving and monitoring need to know about one model.

    `reference` maps each feature's name to its values on held-out validation images, one value per image. The order of
    its keys is the order of the columns of every feature matrix; the probabilities of the labels come first.
    `reference_accuracy` is the model's accuracy on the reference images. If their labels are unknown, it is an
    estimate, and `provenance` says so. `embedding_size` is the length of the graph's second output. `files` maps the
    file names of the graph and the golden images to their SHA-256; it is empty until the archive is written.
    """

    schema_version: int
    name: ModelName
    version: ModelVersion
    labels: tuple[str, ...] = Field(min_length=2)
    image_spec: ImageSpec
    temperature: float = Field(gt=0)
    embedding_size: int = Field(ge=1)
    drift: DriftPolicy
    reference: dict[str, tuple[float, ...]]
    reference_accuracy: float = Field(ge=0, le=1)
    certificate: Certificate
    golden: tuple[GoldenImage, ...] = Field(min_length=1, max_length=16)
    files: dict[str, Sha256]
    evaluation: dict[str, float]
    provenance: dict[str, str | int | float]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns."""
        return tuple(self.reference)

    @property
    def display_name(self) -> str:
        """`name/version`, as logs, metrics and `driftserve status` show it."""
        return f"{self.name}/{self.version}"

    @property
    def file_names(self) -> tuple[str, ...]:
        """The keys of `files` in a written archive."""
        return (MODEL_FILE, *(image.file for image in self.golden))

    @model_validator(mode="after")
    def _is_consistent(self) -> "Contract":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected distinct labels, got {list(self.labels)}")
        lengths = {name: len(values) for name, values in self.reference.items()}
        if not lengths or min(lengths.values()) < 2 or len(set(lengths.values())) != 1:
            raise ValueError(f"expected reference samples of equal length, at least 2, got {lengths}")
        if len(set(self.file_names)) != len(self.file_names):
            raise ValueError(f"expected distinct golden files, got {', '.join(self.file_names[1:])}")
        if self.files and set(self.files) != set(self.file_names):
            raise ValueError(f"expected the files {', '.join(self.file_names)}, got {', '.join(self.files)}")
        for image in self.golden:
            if (got := len(image.probabilities)) != (expected := len(self.labels)):
                raise ValueError(f"{image.file}: expected {expected} probabilities, one per label, got {got}")
            if image.label != (top := self.labels[image.probabilities.index(max(image.probabilities))]):
                raise ValueError(f"{image.file}: expected {image.label!r} to be the most probable label, got {top!r}")
        probabilities = tuple(f"{PROBABILITY_PREFIX}{label}" for label in self.labels)
        if (first := self.feature_names[: len(self.labels)]) != probabilities:
            raise ValueError(f"expected the reference to start with {', '.join(probabilities)}, got {', '.join(first)}")
        return self


def margin_of(probabilities: Sequence[float]) -> float:
    """Return the difference between the two highest of at least two probabilities.

    >>> round(margin_of([0.2, 0.7, 0.1]), 3)
    0.5
    """
    first, second, *_ = sorted(probabilities, reverse=True)
    return first - second


def contract_from_json(text: str | bytes) -> Contract:
    """Return the contract in a JSON text.

    Raises:
        ArchiveError: the text is not JSON, has another schema version, or breaks the schema.
    """
    try:
        document = from_json(text, allow_inf_nan=False)  # also rejects lone surrogates, which UTF-8 cannot encode
    except ValueError as error:
        raise ArchiveError(f"contract.json: not valid JSON: {error}; export the archive again") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise ArchiveError(
            f"contract.json: expected schema_version {SCHEMA_VERSION}, got {version!r}; "
            "serve the archive with the driftserve version that wrote it, or export it again"
        )
    try:
        return Contract.model_validate(document)
    except ValidationError as error:
        problem = first_problem(error)
        place = problem.place or "contract"
        raise ArchiveError(f"contract.json: {place}: {problem.reason}; export the archive again") from error


def contract_to_json(contract: Contract) -> str:
    """Return the contract as a JSON text, which `contract_from_json` reads back unchanged."""
    return contract.model_dump_json(indent=1)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, as in `Contract.files`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
