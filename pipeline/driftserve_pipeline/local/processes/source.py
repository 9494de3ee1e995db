"""Compute the digest of a run's local files. Other files make another execution."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from driftserve.text import is_utf8
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.parameter import locations_of

_LOCATIONS = ("TrainLocation", "TestLocation")
_RELEASE = "AnnotationRelease"
_DIGEST = "SourceDigest"


def with_digest(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the resolved parameters with the digest of the local folders and files, if no digest is given.

    Local paths become absolute, because a job runs in its own folder. In AWS, `driftserve-pipeline start` computes the
    digest from S3's listing.
    """
    here = _paths_here(parameters, _LOCATIONS)
    absolute = {name: str(path.absolute()) for name, path in _paths_here(parameters, (*_LOCATIONS, _RELEASE)).items()}
    found = {**parameters, **absolute}
    if here and not locations_of(parameters, (_DIGEST,)):
        found[_DIGEST] = digest_of(here.values())
    return found


def release_here(parameters: Mapping[str, str]) -> list[Path]:
    """Return the annotation release, if it is on this machine."""
    return [*_paths_here(parameters, (_RELEASE,)).values()]


def digest_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of files, and of all files in folders with their names there.

    Raises:
        PipelineError: a name is not UTF-8.
    """
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path).as_posix()
                if not is_utf8(name):
                    raise PipelineError(f"{path}: expected names in UTF-8, got {name}; rename it")
                digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _paths_here(parameters: Mapping[str, str], names: Iterable[str]) -> dict[str, Path]:
    paths = {name: Path(path) for name in names for path in locations_of(parameters, (name,))}
    return {name: path for name, path in paths.items() if path.exists()}
