"""The files on this machine that a run is given, as part of what makes it another execution."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from driftserve_pipeline.execution.parameter import locations_of

_LOCATIONS = ("TrainLocation", "TestLocation")
_RELEASE = "AnnotationRelease"
_DIGEST = "SourceDigest"


def with_digest(parameters: Mapping[str, str]) -> dict[str, str]:
    """The resolved parameters, with the digest of the folders and files among the locations, where none is given.

    Those are named by absolute paths: a job runs in a folder of its own. In AWS `driftserve-pipeline start` takes the
    digest of what S3 lists.
    """
    here = _paths_here(parameters, _LOCATIONS)
    absolute = {name: str(path.absolute()) for name, path in _paths_here(parameters, (*_LOCATIONS, _RELEASE)).items()}
    found = {**parameters, **absolute}
    if here and not locations_of(parameters, (_DIGEST,)):
        found[_DIGEST] = digest_of(here.values())
    return found


def release_here(parameters: Mapping[str, str]) -> list[Path]:
    """The release of annotations, where it is on this machine."""
    return [*_paths_here(parameters, (_RELEASE,)).values()]


def digest_of(paths: Iterable[Path]) -> str:
    """The SHA-256 of files, and of all files in folders, with their names in there."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path).as_posix()
                digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _paths_here(parameters: Mapping[str, str], names: Iterable[str]) -> dict[str, Path]:
    paths = {name: Path(path) for name in names for path in locations_of(parameters, (name,))}
    return {name: path for name, path in paths.items() if path.exists()}
