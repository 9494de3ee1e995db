"""Export a trained network as the archive that is served; refuse a network that was not evaluated."""

import tempfile
from dataclasses import replace
from pathlib import Path

from driftserve.archive.certificate import Certificate
from driftserve.archive.reading import MODEL_FILE, archives_in
from driftserve.archive.writing import place, write_archive, write_model_tarball
from driftserve.certification.measurement import SHORT, Effort
from driftserve.errors import DataError
from driftserve.inference.verification import verify_archive
from driftserve_training.archiving.certifying import certify_images
from driftserve_training.archiving.contracting import to_contract
from driftserve_training.archiving.golden import choose_golden
from driftserve_training.archiving.served import script
from driftserve_training.card.card import gather
from driftserve_training.card.evidence import CERTIFICATE_FILE
from driftserve_training.card.files import PAGE_FILE, render, write_card
from driftserve_training.dataset.manifest import scan
from driftserve_training.dataset.trained_images import check_same_images, read_trained_images
from driftserve_training.explanation.agreement import check_served_answers
from driftserve_training.network.parity import Parity
from driftserve_training.network.threads import preserve_thread_count
from driftserve_training.network.trained import load_trained

TARBALL = "model.tar.gz"
_SPLITS = ("train", "val")


def export(
    trained: Path,
    data: Path,
    output: Path,
    name: str,
    version: str,
    effort: Effort = SHORT,
    certificate_images: Path | None = None,
) -> tuple[Path, Parity]:
    """Write `<output>/model/<name>.mar`, `<output>/model.tar.gz` and the model card; return the .mar and the parity.

    The principal components are fitted on `train/`. The reference is scored on `val/`, or on a sample of it if it has
    more images than a reference may have (`driftserve.drift.reference`), with the serving code, and the
    golden images are chosen from `val/`. The drift certificate is measured on random halves of `val/`, or of
    `certificate_images`, a folder with `<class>/<image>`. The card includes the certificate, and is also written into
    `trained`. The archive names the digests of the card.

    Raises:
        DataError: the training run cannot be used or was not evaluated, the data set is not that of the run, or the
            output has an archive of another name.
        ModelError: the TorchScript network does not give the answers of the trained network, or the network is not
            confident enough on any validation image to make it golden; nothing is left in `output`.
        ArchiveError: the archive could not be written, or its verification failed.
    """
    _check_no_other_archive(output / "model", name)
    evidence = gather(trained)
    record, classifier = load_trained(trained)
    manifest = scan(data, _SPLITS)
    check_same_images(manifest, read_trained_images(trained, record.manifest_sha256), _SPLITS)
    with tempfile.TemporaryDirectory() as scratch, preserve_thread_count():
        served = script(record, classifier, manifest, Path(scratch, MODEL_FILE))
        if evidence.explanations is not None:
            spec = record.network.image_spec
            check_served_answers(evidence.explanations, data, served.model, spec, record.temperature)
        golden, images = choose_golden(manifest, served)
        certificate = certify_images(certificate_images or data / "val", served, record, effort)
        card = replace(evidence, certificate=certificate)
        files = render(card)
        contract = to_contract(name, version, card, files, served, golden, certificate)
        archive = write_archive(Path(scratch, "model"), contract, served.graph, images)
        verify_archive(archive, Path(scratch, "unpacked"), allowed=())
        placed = _place(archive, output / "model")
        write_model_tarball(archive, Path(scratch, TARBALL))
        place(Path(scratch, TARBALL), output / TARBALL)
    _write_certificate(certificate, trained / CERTIFICATE_FILE)
    for directory in (trained, output):
        write_card(files, directory / PAGE_FILE)
    return placed, served.parity


def _check_no_other_archive(directory: Path, name: str) -> None:
    """Check that the directory holds no archive that could be somebody else's; a server accepts only one."""
    if others := sorted(path for path in archives_in(directory) if path.name != f"{name}.mar"):
        raise DataError(f"{others[0]}: expected no archive beside {name}.mar; move it, or give another --output")


def _place(archive: Path, directory: Path) -> Path:
    """Copy the archive into a directory that stands for /opt/ml/model."""
    directory.mkdir(parents=True, exist_ok=True)
    return place(archive, directory / archive.name)


def _write_certificate(certificate: Certificate, path: Path) -> None:
    path.write_text(certificate.model_dump_json(indent=1) + "\n")
