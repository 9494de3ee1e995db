"""From a trained network to the archive that is served: graph, reference, contract, parity."""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from driftserve import __version__
from driftserve.archive import MODEL_FILE, write_archive, write_model_tarball
from driftserve.contract import SCHEMA_VERSION, Contract, DriftPolicy, ImageSpec
from driftserve.errors import ModelError
from driftserve.features import feature_names, features
from driftserve.model import Model, ModelOutput
from driftserve.prediction import calibrate
from driftserve_training.checkpoint import TrainedRecord, load_trained
from driftserve_training.dataset import pixel_batches
from driftserve_training.manifest import scan
from driftserve_training.network import Classifier

MAX_EMBEDDING_SIZE = 12
PARITY_TOLERANCE = 1e-4  # of a probability, between the eager network and what is served

Batches = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Parity:
    """How far what is served lies from the eager network, over the validation images."""

    images: int
    max_abs_diff: float
    argmax_agreement: float


class ExportGraph(nn.Module):
    """Pixels, (N, 3, H, W) uint8, to logits, (N, K), and embedding, (N, E): principal components."""

    center: torch.Tensor
    components: torch.Tensor

    def __init__(self, classifier: Classifier, center: torch.Tensor, components: torch.Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("center", center)  # (D,)
        self.register_buffer("components", components)  # (D, E)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding."""
        feature_map = _feature_map(self.classifier, pixels)
        logits: torch.Tensor = self.classifier.backbone.forward_head(feature_map)  # type: ignore[operator]
        return logits, (_pooled(self.classifier, feature_map) - self.center) @ self.components


def export(trained: Path, data: Path, output: Path, name: str, version: str) -> tuple[Path, Parity]:
    """Write `<output>/model/<name>.mar` and `<output>/model.tar.gz`.

    The principal components are fitted on `train/`; the reference is scored on `val/`, through
    the very code that serves.

    Raises:
        DataError: the training run or the data set cannot be used.
        ModelError: eager, scripted and archived network do not agree; nothing is left in `output`.
    """
    record, classifier = load_trained(trained)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    spec = record.network.image_spec
    manifest = scan(data, ("train", "val"))
    center, components = _principal_components(classifier, pixel_batches(manifest, "train", spec))
    graph = ExportGraph(classifier, center, components).eval()
    val = pixel_batches(manifest, "val", spec)

    with tempfile.TemporaryDirectory() as scratch:
        scripted = Path(scratch, MODEL_FILE)
        _trace(graph, spec, scripted)
        outputs = _run(scripted, spec, val, "reference")
        parity = _compare(_eager_logits(classifier, val), outputs, record.temperature)
        _refuse_disparity(parity, "scripted")

        contract = _to_contract(record, name, version, val, outputs, parity)
        archive = write_archive(Path(scratch, "model"), contract, scripted)
        with zipfile.ZipFile(archive) as mar:
            unpacked = Path(mar.extract(MODEL_FILE, Path(scratch, "unpacked")))
        archived = _run(unpacked, spec, val[:2], "archived")
        _refuse_disparity(_compare(_eager_logits(classifier, val[:2]), archived, record.temperature), "archived")

        model_directory = output / "model"
        model_directory.mkdir(parents=True, exist_ok=True)
        for old in model_directory.glob("*.mar"):
            old.unlink()  # the directory is /opt/ml/model: one archive, this one
        placed = model_directory / archive.name
        placed.write_bytes(archive.read_bytes())
    write_model_tarball(placed, output / "model.tar.gz")
    return placed, parity


def _feature_map(classifier: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    feature_map: torch.Tensor = classifier.backbone.forward_features(classifier.normalise(pixels))  # type: ignore[operator]
    return feature_map


def _pooled(classifier: Classifier, feature_map: torch.Tensor) -> torch.Tensor:
    """What the last layer sees, (N, D)."""
    pooled: torch.Tensor = classifier.backbone.forward_head(feature_map, pre_logits=True)  # type: ignore[operator]
    return pooled.flatten(1)


def _principal_components(classifier: Classifier, batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre, (D,), and leading principal components, (D, E), of the pooled features."""
    with torch.inference_mode():
        pooled = torch.cat(
            [
                _pooled(classifier, _feature_map(classifier, _to_tensor(batch)))
                for batch in tqdm(batches, desc="principal components", unit="batch")
            ]
        )
        center = pooled.mean(dim=0)
        size = min(MAX_EMBEDDING_SIZE, *pooled.shape)
        _, _, directions = torch.linalg.svd(pooled - center, full_matrices=False)
    return center.clone(), directions[:size].T.clone()


def _trace(graph: ExportGraph, spec: ImageSpec, path: Path) -> None:
    example = torch.zeros(1, 3, spec.height, spec.width, dtype=torch.uint8)
    with torch.inference_mode():
        traced = torch.jit.trace(graph, example.contiguous(memory_format=torch.channels_last))  # type: ignore[no-untyped-call]
    traced.save(str(path))


def _run(path: Path, spec: ImageSpec, batches: Batches, description: str) -> ModelOutput:
    """The served model's output for all batches."""
    threads = torch.get_num_threads()
    model = Model(path, spec.height, spec.width)
    outputs = [model(batch) for batch in tqdm(batches, desc=description, unit="batch")]
    torch.set_num_threads(threads)
    return ModelOutput(
        logits=np.concatenate([output.logits for output in outputs]),
        embedding=np.concatenate([output.embedding for output in outputs]),
    )


def _eager_logits(classifier: Classifier, batches: Batches) -> npt.NDArray[np.float32]:
    """The logits of the network as timm runs it, not by the export graph's two steps."""
    with torch.inference_mode():
        return np.concatenate([classifier(_to_tensor(batch)).numpy() for batch in batches])


def _compare(eager_logits: npt.NDArray[np.float32], served: ModelOutput, temperature: float) -> Parity:
    eager = calibrate(eager_logits, temperature)
    other = calibrate(served.logits, temperature)
    return Parity(
        images=len(eager),
        max_abs_diff=float(np.abs(eager - other).max()),
        argmax_agreement=float((eager.argmax(axis=1) == other.argmax(axis=1)).mean()),
    )


def _refuse_disparity(parity: Parity, which: str) -> None:
    if parity.max_abs_diff > PARITY_TOLERANCE or parity.argmax_agreement < 1.0:
        raise ModelError(
            f"expected the {which} network within {PARITY_TOLERANCE} of the eager one and the same class for every "
            f"image, got {parity.max_abs_diff:.2e} and {parity.argmax_agreement:.4f}; this network cannot be exported"
        )


def _to_contract(
    record: TrainedRecord, name: str, version: str, val: Batches, outputs: ModelOutput, parity: Parity
) -> Contract:
    probabilities = calibrate(outputs.logits, record.temperature)
    rows = features(np.concatenate(val), probabilities, outputs.embedding)
    embedding_size = outputs.embedding.shape[1]
    names = feature_names(record.labels, embedding_size)
    return Contract(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=version,
        labels=record.labels,
        image_spec=record.network.image_spec,
        temperature=record.temperature,
        embedding_size=embedding_size,
        drift=DriftPolicy(),
        reference={feature: tuple(column) for feature, column in zip(names, rows.T.tolist(), strict=True)},
        files={},  # write_archive fills them in
        evaluation={
            "val_accuracy": record.val_accuracy,
            "test_accuracy": record.test_accuracy,
            "test_macro_f1": record.test_macro_f1,
            "parity_max_abs_diff": parity.max_abs_diff,
        },
        provenance={
            "network": record.network.model,
            "weights_license": record.network.weights_license,
            "manifest_sha256": record.manifest_sha256,
            "seed": record.seed,
            "epochs": record.epochs,
            "driftserve": __version__,
            "torch": torch.__version__,
            "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )


def _to_tensor(batch: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
