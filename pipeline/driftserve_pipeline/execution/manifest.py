"""The manifest of an execution: everything that it depends on, hence what makes it another one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Manifest:
    """The deployed definition's digest and every parameter, the sources' digest among them."""

    definition_sha256: str
    parameters: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """The digest of the whole, in hexadecimal."""
        whole = {"definition": self.definition_sha256, "parameters": dict(self.parameters)}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
