"""The archive: a MAR file with the graph, its contract and the one-line handler file."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from driftserve.contract import Contract, contract_from_json, contract_to_json, file_sha256
from driftserve.errors import ArchiveError

CONTRACT_FILE = "contract.json"
MODEL_FILE = "model.pt"
HANDLER_FILE = "driftserve_handler.py"
# The loaders of both servers take a module-level function `handle`, an imported one too.
HANDLER_SOURCE = "from driftserve.adapters.torchserve import handle\n"
# Written by the archiver with the time in it, so it is no part of the archive's content.
_MANIFEST_FILE = "MAR-INF/MANIFEST.json"


def write_archive(directory: Path, contract: Contract, model: Path) -> Path:
    """Write `<directory>/<name>.mar` with torch-model-archiver and give back its path.

    Args:
        directory: made where it does not exist.
        contract: its `files` are filled in here.
        model: the TorchScript file.

    Raises:
        ArchiveError: the archiver is not installed, or refused.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The archiver uses and deletes <TMPDIR>/<model name>: give it a TMPDIR of its own.
    with tempfile.TemporaryDirectory() as scratch:
        source, temporary = Path(scratch, "source"), Path(scratch, "tmp")
        source.mkdir()
        temporary.mkdir()
        shutil.copyfile(model, source / MODEL_FILE)
        (source / HANDLER_FILE).write_text(HANDLER_SOURCE)
        sealed = contract.model_copy(update={"files": {MODEL_FILE: file_sha256(source / MODEL_FILE)}})
        (source / CONTRACT_FILE).write_text(contract_to_json(sealed))
        _run_archiver(source, temporary, sealed, directory)
    return directory / f"{contract.name}.mar"


def _run_archiver(source: Path, temporary: Path, contract: Contract, directory: Path) -> None:
    command = [
        *(sys.executable, "-m", "model_archiver.model_packaging", "--force"),
        *("--model-name", contract.name, "--version", contract.version),
        *("--serialized-file", str(source / MODEL_FILE), "--handler", str(source / HANDLER_FILE)),
        *("--extra-files", str(source / CONTRACT_FILE), "--export-path", str(directory.resolve())),
    ]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(temporary)}, capture_output=True, text=True)
    if done.returncode != 0:
        raise ArchiveError(f"torch-model-archiver failed ({done.returncode}): {done.stderr.strip()}")


def write_model_tarball(archive: Path, path: Path) -> None:
    """Write the `model.tar.gz` that SageMaker unpacks into /opt/ml/model: the archive alone."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tarball:  # the MAR is deflated already
        tarball.add(archive, arcname=archive.name)


def find_archive(place: Path) -> Path:
    """The archive at a path: the file itself, or the one `.mar` in a directory.

    Raises:
        ArchiveError: there is none, or several.
    """
    if place.is_file():
        return place
    found = sorted(place.glob("*.mar"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ArchiveError(f"{place}: expected an archive, or a directory with one .mar file, got {names}")
    return found[0]


def read_contract(archive: Path) -> Contract:
    """The contract in a `.mar` file, after its files were held against its digests.

    Raises:
        ArchiveError: the file is no archive of ours, or its content is not what the contract says.
    """
    try:
        with zipfile.ZipFile(archive) as mar:
            contract = contract_from_json(mar.read(CONTRACT_FILE))
            for name, expected in contract.files.items():
                actual = hashlib.sha256(mar.read(name)).hexdigest()
                if actual != expected:
                    raise ArchiveError(f"{archive.name}: {name}: expected sha256 {expected}, got {actual}")
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ArchiveError(f"{archive}: expected a MAR archive (a zip file), got {error}") from error
    except KeyError as error:
        raise ArchiveError(f"{archive.name}: expected an archive that driftserve wrote, got {error}") from error
    return contract


def archive_digest(archive: Path) -> str:
    """The content digest of a `.mar` file, which names the model whatever its file is called."""
    with zipfile.ZipFile(archive) as mar:
        names = [entry.filename for entry in mar.infolist() if not entry.is_dir()]
        return _content_digest((name, hashlib.sha256(mar.read(name)).hexdigest()) for name in names)


def directory_digest(directory: Path, contract: Contract) -> str:
    """The content digest of an unpacked archive, equal to that of its `.mar` file."""
    # TorchServe and Python leave their own files in the directory: count those that we wrote.
    ours = (CONTRACT_FILE, HANDLER_FILE, *contract.files)
    return _content_digest((name, file_sha256(directory / name)) for name in ours)


def _content_digest(entries: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over `name sha256` lines, sorted by name, without the archiver's manifest."""
    lines = sorted(f"{name} {digest}\n" for name, digest in entries if name != _MANIFEST_FILE)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
