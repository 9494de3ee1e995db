"""Make the contract of an archive: the network's input, labels, drift reference and digests of its evidence."""

from datetime import datetime, timezone

import torch

from driftserve import __version__
from driftserve.archive.certificate import Certificate
from driftserve.archive.contract import SCHEMA_VERSION, Contract, DriftPolicy, GoldenImage
from driftserve.drift.features import feature_names
from driftserve_training.archiving.served import ServedNetwork
from driftserve_training.card.card import ModelCard
from driftserve_training.card.files import CardFiles
from driftserve_training.network.trained import TrainedRecord


def to_contract(
    name: str,
    version: str,
    card: ModelCard,
    files: CardFiles,
    served: ServedNetwork,
    golden: tuple[GoldenImage, ...],
    certificate: Certificate,
) -> Contract:
    """Return the contract of a network; its provenance has the digests of the card's files."""
    record, scored = card.trained, served.scored
    names = feature_names(record.labels, scored.embedding_size)
    reference = scored.features[served.sample]
    return Contract(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=version,
        labels=record.labels,
        image_spec=record.network.image_spec,
        temperature=record.temperature,
        embedding_size=scored.embedding_size,
        drift=DriftPolicy(),
        reference={feature: tuple(column) for feature, column in zip(names, reference.T.tolist(), strict=True)},
        reference_accuracy=served.accuracy,
        certificate=certificate,
        golden=golden,
        files={},  # write_archive fills them in
        evaluation=_scores(card) | {"parity_max_abs_diff": served.parity.max_abs_diff},
        provenance={**_provenance(record), **_sampling(served), **files.digests},
    )


def _scores(card: ModelCard) -> dict[str, float]:
    """Return the scores that a registry sorts by; the card has all scores, with intervals."""
    evaluation = card.evaluation
    scores = {
        "val_accuracy": card.trained.val_accuracy,
        "test_accuracy": evaluation.accuracy.value,
        "test_macro_f1": evaluation.macro_f1.value,
        "test_ece": evaluation.calibrated.ece,
    }
    if evaluation.robustness:
        scores["mean_corruption_accuracy"] = evaluation.robustness.mean_corruption_accuracy.value
    return scores


def _sampling(served: ServedNetwork) -> dict[str, int]:
    """Return the number of validation images, if the reference is only a sample of them."""
    images = len(served.is_right)
    return {"reference_sampled_from": images} if len(served.sample) < images else {}


def _provenance(record: TrainedRecord) -> dict[str, str | int | float]:
    return {
        "network": record.network.model,
        "weights_license": record.network.weights_license,
        "manifest_sha256": record.manifest_sha256,
        "revision": record.revision,
        "seed": record.seed,
        "epochs": record.epochs,
        "driftserve": __version__,
        "torch": torch.__version__,
        "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
