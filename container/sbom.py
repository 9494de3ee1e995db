"""Writes the bill of materials of an image: Python packages that cyclonedx-py found, Debian packages, and the Java.

`python3 sbom.py PYTHON_SBOM ROOT [PACKAGE...]` writes CycloneDX JSON to stdout. All packages of ROOT, the root of the
image's base, are listed. Each PACKAGE is from the build stage and partly in the image, such as the Java.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_FIELDS = "${Package}\t${Version}\t${Architecture}\n"


def main(python_sbom: str, root: str, *packages: str) -> None:
    """Add Debian's packages to the list of Python packages, and write it."""
    document = json.loads(Path(python_sbom).read_text())
    listed = [*_debian(f"--admindir={root}/var/lib/dpkg"), *(_debian(*packages) if packages else ())]
    document["components"] += listed
    driftserve = next(component for component in document["components"] if component["name"] == "driftserve")
    document["metadata"]["component"] = {"type": "container", "name": "driftserve", "version": driftserve["version"]}
    json.dump(document, sys.stdout, indent=1)


def _debian(*arguments: str) -> Iterator[dict[str, str]]:
    """Yield packages as components, each with its package URL, https://github.com/package-url/purl-spec."""
    command = ["/usr/bin/dpkg-query", f"--showformat={_FIELDS}", "--show", *arguments]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main(*sys.argv[1:])
