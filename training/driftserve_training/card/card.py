"""The content of a model card: the evidence on one trained network, collected from the folder of its training run."""

import hashlib
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import timm
import torch
from pydantic import Field, TypeAdapter

from driftserve import __version__
from driftserve.archive.certificate import Certificate
from driftserve.errors import DataError
from driftserve_training.card.evidence import (
    Choice,
    Epoch,
    read_certificate,
    read_choices,
    read_history,
    read_picture,
)
from driftserve_training.card.limits import to_limits
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.dataset.trained_images import read_trained_images
from driftserve_training.evaluation.document import Evaluation
from driftserve_training.evaluation.quality import evaluation_file, read_evaluation
from driftserve_training.explanation.document import Explanations, read_explanations
from driftserve_training.network.trained import TrainedRecord, load_trained

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SplitImages:
    """The number of images of each label in a split, in the order of the labels."""

    split: str
    images: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """The PNG of one explanation; the card's JSON contains only the digest of it."""

    file: str
    sha256: str
    content: Annotated[bytes, Field(exclude=True)]


@dataclass(frozen=True)
class ModelCard:
    """A network with the evidence on its quality.

    A field that was not measured is None or empty. `parameters` is the number of the network's trainable values.
    `choices` are the parameters of the training run. `versions` are the versions of the software that made the card.
    """

    schema_version: int
    trained: TrainedRecord
    parameters: int
    images: tuple[SplitImages, ...]
    choices: dict[str, Choice] | None
    versions: dict[str, str]
    history: tuple[Epoch, ...]
    evaluation: Evaluation
    explanations: Explanations | None
    pictures: tuple[Picture, ...]
    certificate: Certificate | None
    limits: tuple[str, ...]


_MOST_INDENTED = 100  # most classes for which each number of the confusion matrix gets a line of the JSON
_ADAPTER = TypeAdapter(ModelCard)


def gather(trained: Path) -> ModelCard:
    """Return the card of the network in the folder of a training run.

    Raises:
        DataError: the run is not finished or not evaluated, or the evidence in it is of another network or data set.
    """
    record, classifier = load_trained(trained)
    manifest = read_trained_images(trained, record.manifest_sha256)
    evaluation = read_evaluation(trained)
    _check_network(evaluation, record, trained / evaluation_file("test"))
    _check_test_images(evaluation, manifest, trained / evaluation_file("test"))
    explanations = read_explanations(trained)
    return ModelCard(
        schema_version=SCHEMA_VERSION,
        trained=record,
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        images=_count(manifest, record.labels),
        choices=read_choices(trained),
        versions=_versions(),
        history=read_history(trained),
        evaluation=evaluation,
        explanations=explanations,
        pictures=_pictures(trained, explanations),
        certificate=read_certificate(trained),
        limits=to_limits(evaluation, explanations),
    )


def card_to_json(card: ModelCard) -> bytes:
    """Return the card as JSON, the same bytes for the same card; without indentation if it has many classes."""
    indent = 1 if len(card.trained.labels) <= _MOST_INDENTED else None
    return _ADAPTER.dump_json(card, indent=indent) + b"\n"


def _check_network(evaluation: Evaluation, record: TrainedRecord, path: Path) -> None:
    """Check that an evaluation is of this network. The temperature is compared because it differs between two runs."""
    facts = {
        "split": ("test", evaluation.split),
        "network": (record.network.model, evaluation.network),
        "labels": (record.labels, evaluation.labels),
        "temperature": (record.temperature, evaluation.temperature),
    }
    for name, (expected, got) in facts.items():
        if got != expected:
            raise DataError(f"{path}: expected the {name} {expected}, got {got}; run `evaluate` again")


def _check_test_images(evaluation: Evaluation, manifest: Manifest, path: Path) -> None:
    """Check that the evaluated images are the test images of the run."""
    if evaluation.images_sha256 != Manifest(manifest.folder, manifest.split("test")).sha256:
        raise DataError(
            f"{path}: expected the test images of the run, got other images; "
            "run `evaluate` with the data that the network was trained with"
        )


def _count(manifest: Manifest, labels: tuple[str, ...]) -> tuple[SplitImages, ...]:
    numbers = Counter((entry.split, entry.label) for entry in manifest.entries)
    splits = dict.fromkeys(entry.split for entry in manifest.entries)  # an ordered set
    return tuple(SplitImages(split, tuple(numbers[split, label] for label in labels)) for split in splits)


def _versions() -> dict[str, str]:
    return {
        "driftserve": __version__,
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
    }


def _pictures(trained: Path, explanations: Explanations | None) -> tuple[Picture, ...]:
    names = [explanation.picture for explanation in explanations.explanations] if explanations else []
    contents = [read_picture(trained, name) for name in names]
    return tuple(
        Picture(name, hashlib.sha256(content).hexdigest(), content)
        for name, content in zip(names, contents, strict=True)
    )
