"""From a trained network to the archive that is served: graph, parity, reference, golden images, contract."""

import shutil
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from driftserve import __version__
from driftserve.archive import MODEL_FILE, write_archive, write_model_tarball
from driftserve.certificate import Certificate
from driftserve.certification import SHORT, Effort
from driftserve.contract import SCHEMA_VERSION, Contract, DriftPolicy, GoldenImage
from driftserve.features import feature_names
from driftserve.model import Model
from driftserve.scoring import Scored, score
from driftserve.verification import verify_archive
from driftserve_training.archiving.certifying import certify_images
from driftserve_training.archiving.golden import choose_golden
from driftserve_training.dataset.images import decoded_images, pixel_batches
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import build_graph, save_scripted, to_tensor
from driftserve_training.network.parity import Parity, compare, refuse_disparity
from driftserve_training.network.threads import threads_given_back
from driftserve_training.network.trained import TrainedRecord, load_trained


def export(
    trained: Path,
    data: Path,
    output: Path,
    name: str,
    version: str,
    effort: Effort = SHORT,
    certificate_images: Path | None = None,
) -> tuple[Path, Parity]:
    """Write `<output>/model/<name>.mar` and `<output>/model.tar.gz`.

    The principal components are fitted on `train/`; the reference is scored on `val/`, through
    the very code that serves; the golden images are taken from there. The drift certificate is measured
    on random halves of `val/`, or of `certificate_images`, a folder with `<class>/<image>`.

    Raises:
        DataError: the training run or the data set cannot be used.
        ModelError: eager and scripted network do not agree, or the network is too unsure of every
            validation image to make it golden; nothing is left in `output`.
        ArchiveError: the archive could not be written, or was not accepted when read back.
    """
    record, classifier = load_trained(trained)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    spec = record.network.image_spec
    manifest = scan(data, ("train", "val"))
    graph = build_graph(classifier, pixel_batches(manifest, "train", spec))
    eager_logits = _eager_logits(classifier, pixel_batches(manifest, "val", spec))

    with tempfile.TemporaryDirectory() as scratch, threads_given_back():
        scripted = Path(scratch, MODEL_FILE)
        save_scripted(graph, spec, scripted)
        model = Model(scripted, spec.height, spec.width)
        score_images = partial(score, model=model, spec=spec, temperature=record.temperature)
        reference = score_images(_validation_images(manifest))
        parity = compare(eager_logits, reference.logits, record.temperature)
        refuse_disparity(parity, "scripted")

        golden, golden_files = choose_golden(manifest, reference.probabilities, model, spec, record.temperature)
        certified_by, size = certificate_images or data / "val", reference.embedding_size
        certificate = certify_images(certified_by, record.labels, score_images, effort, record.seed, size)
        contract = _to_contract(
            record, name, version, reference, _accuracy(manifest, reference), parity, golden, certificate
        )
        archive = write_archive(Path(scratch, "model"), contract, scripted, golden_files)
        verify_archive(archive, Path(scratch, "unpacked"), allowed=())
        placed = _place(archive, output / "model")
    write_model_tarball(placed, output / "model.tar.gz")
    return placed, parity


def _eager_logits(classifier: Classifier, batches: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The logits of the network as timm runs it, not by the export graph's two steps."""
    with torch.inference_mode():
        return np.concatenate(
            [classifier(to_tensor(batch)).numpy() for batch in tqdm(batches, desc="eager", unit="batch")]
        )


def _validation_images(manifest: Manifest) -> Iterable[npt.NDArray[np.uint8]]:
    number = len(manifest.split("val"))
    shown: Iterable[npt.NDArray[np.uint8]] = tqdm(
        decoded_images(manifest, "val"), desc="reference", total=number, unit="image"
    )
    return shown


def _accuracy(manifest: Manifest, reference: Scored) -> float:
    """The share of the reference's images whose most probable label is theirs."""
    targets = [manifest.labels.index(entry.label) for entry in manifest.split("val")]
    return float((reference.probabilities.argmax(axis=1) == targets).mean())


def _place(archive: Path, directory: Path) -> Path:
    """Make the archive the only one in a directory that stands for /opt/ml/model."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.mar"):
        old.unlink()
    return Path(shutil.copyfile(archive, directory / archive.name))


def _to_contract(
    record: TrainedRecord,
    name: str,
    version: str,
    reference: Scored,
    reference_accuracy: float,
    parity: Parity,
    golden: tuple[GoldenImage, ...],
    certificate: Certificate,
) -> Contract:
    names = feature_names(record.labels, reference.embedding_size)
    return Contract(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=version,
        labels=record.labels,
        image_spec=record.network.image_spec,
        temperature=record.temperature,
        embedding_size=reference.embedding_size,
        drift=DriftPolicy(),
        reference={
            feature: tuple(column) for feature, column in zip(names, reference.features.T.tolist(), strict=True)
        },
        reference_accuracy=reference_accuracy,
        certificate=certificate,
        golden=golden,
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
