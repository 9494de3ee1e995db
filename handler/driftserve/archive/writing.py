"""Writes an archive (a MAR file, with torch-model-archiver), and the `model.tar.gz` of an archive for SageMaker."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from driftserve.archive.contract import MODEL_FILE, Contract, contract_to_json, file_sha256
from driftserve.archive.mar import open_mar
from driftserve.archive.reading import (
    CONTRACT_FILE,
    HANDLER_FILE,
    HANDLER_SOURCE,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    read_contract,
)
from driftserve.errors import ArchiveError


def write_archive(directory: Path, contract: Contract, model: Path, golden: Mapping[str, bytes]) -> Path:
    """Write `<directory>/<name>.mar` with torch-model-archiver, read it back as a check, and return its path.

    Args:
        directory: is created if it does not exist.
        contract: is written with the files' digests in `files`; the object that is passed does not change.
        model: the TorchScript file.
        golden: the PNG of each golden image, by file name. The contract has the model's prediction for each.

    Raises:
        ArchiveError: the archiver is not installed, or failed; or its output is rejected when it is read back.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The archiver uses and deletes <TMPDIR>/<model name>, so it gets its own TMPDIR.
    with tempfile.TemporaryDirectory() as scratch:
        source, temporary = Path(scratch, "source"), Path(scratch, "tmp")
        source.mkdir()
        temporary.mkdir()
        shutil.copyfile(model, source / MODEL_FILE)
        (source / HANDLER_FILE).write_text(HANDLER_SOURCE)
        for image in contract.golden:
            (source / image.file).write_bytes(golden[image.file])
        sealed = contract.model_copy(
            update={"files": {name: file_sha256(source / name) for name in contract.file_names}}
        )
        (source / CONTRACT_FILE).write_bytes(contract_to_json(sealed).encode())
        _run_archiver(source, temporary, sealed, directory)
    archive = directory / f"{contract.name}.mar"
    read_contract(archive)
    return archive


def _run_archiver(source: Path, temporary: Path, contract: Contract, directory: Path) -> None:
    extra_files = (CONTRACT_FILE, *(image.file for image in contract.golden))
    command = [
        *(sys.executable, "-m", "model_archiver.model_packaging", "--force"),
        *("--model-name", contract.name, "--version", contract.version),
        *("--serialized-file", str(source / MODEL_FILE), "--handler", str(source / HANDLER_FILE)),
        *("--extra-files", ",".join(str(source / name) for name in extra_files)),
        *("--export-path", str(directory.resolve())),
    ]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(temporary)}, capture_output=True, text=True)
    if done.returncode != 0:
        raise ArchiveError(f"torch-model-archiver failed ({done.returncode}): {done.stderr.strip()}")


def write_model_tarball(archive: Path, path: Path) -> None:
    """Write the `model.tar.gz` that SageMaker unpacks: into /opt/ml/model, or elsewhere for a multi-model endpoint.

    A multi-model server reads the manifest and the handler file in the unpacked directory, so the tarball has copies of
    these two files beside the `.mar`. Only the `.mar` is served; a copy that differs from the file in it is rejected.
    """
    # The lowest compression level is enough, because the `.mar` is already compressed.
    with open_mar(archive) as mar, tarfile.open(path, "w:gz", compresslevel=1) as tarball:
        with archive.open("rb") as file:
            tarball.addfile(_tar_entry(archive.name, archive.stat().st_size), file)
        for name in (MANIFEST_FILE, HANDLER_FILE):
            content = mar.read(name, MAX_MANIFEST_BYTES)
            tarball.addfile(_tar_entry(name, len(content)), io.BytesIO(content))


def place(file: Path, target: Path) -> Path:
    """Copy a file to a path in one step: an interrupted copy leaves nothing under this name. Return the path."""
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(file, part)
        return part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _tar_entry(name: str, size: int) -> tarfile.TarInfo:
    """Return the entry of a file that every user may read, because the container may run as any user."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry
