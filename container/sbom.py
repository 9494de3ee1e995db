"""The bill of materials of an image: the Python packages that cyclonedx-py found, and Debian's.

`python3 sbom.py PYTHON_SBOM ROOT` writes CycloneDX JSON to stdout; ROOT is the root of the image's base.
"""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

_FIELDS = "${Package}\t${Version}\t${Architecture}\n"


def main(python_sbom: str, root: str) -> None:
    """Add Debian's packages as components, each with its package URL, https://github.com/package-url/purl-spec."""
    document = json.loads(Path(python_sbom).read_text())
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", f"--showformat={_FIELDS}"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        document["components"].append(component)
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
