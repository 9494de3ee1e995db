"""Pushes the images, and writes which ones they are, by digest, to imagedefinitions.json, as CodePipeline takes it."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

_DEFINITIONS = Path("imagedefinitions.json")


def main() -> int:
    """The exit status: 1 when the build before it failed, or an image could not be pushed."""
    options = _parser().parse_args()
    # CodeBuild runs the commands after a build that failed, too.
    if os.environ.get("CODEBUILD_BUILD_SUCCEEDING") == "0":
        sys.stderr.write("the build has failed: nothing is pushed\n")
        return 1
    if not options.registry:
        sys.stderr.write("expected a registry, as ACCOUNT.dkr.ecr.REGION.amazonaws.com, got none\n")
        return 1
    repository = f"{options.registry}/{options.repository}"
    definitions = []
    for target in options.target:
        digest = _push(options.docker, f"{options.image}:{target}", f"{repository}:{target}-{options.revision}")
        if digest is None:
            return 1
        definitions.append({"name": target, "imageUri": f"{repository}@{digest}"})
    _DEFINITIONS.write_text(json.dumps(definitions, indent=1) + "\n")
    return 0


def _push(docker: str, image: str, remote: str) -> str | None:
    """The digest under which the registry has the image now; None where it was not pushed."""
    subprocess.run([docker, "tag", image, remote], check=True)
    done = subprocess.run([docker, "push", remote], stdout=subprocess.PIPE, text=True)
    sys.stdout.write(done.stdout)
    digests = re.findall(r"digest: (sha256:[0-9a-f]{64})", done.stdout)
    if done.returncode != 0 or not digests:
        sys.stderr.write(f"{remote}: expected a digest from `{docker} push`, got status {done.returncode}\n")
        return None
    return str(digests[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="+", help="a tag of the local image, as serving")
    for name in ("docker", "registry", "repository", "image", "revision"):
        parser.add_argument(f"--{name}", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
