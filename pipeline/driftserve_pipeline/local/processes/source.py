"""The images on this machine that a run is given, as part of what makes it another execution."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from driftserve_pipeline.execution.parameter import given_locations

_LOCATIONS = ("TrainLocation", "TestLocation")
_DIGEST = "SourceDigest"


def with_digest(parameters: Mapping[str, str]) -> dict[str, str]:
    """The resolved parameters, with the digest of the folders and files among the locations, where none is given.

    In AWS `driftserve-pipeline start` takes the digest of what S3 lists.
    """
    here = [path for path in map(Path, given_locations(parameters, _LOCATIONS)) if path.exists()]
    if not here or given_locations(parameters, (_DIGEST,)):
        return dict(parameters)
    digest = hashlib.sha256()
    for path in here:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path).as_posix()
                digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return {**parameters, _DIGEST: digest.hexdigest()}
