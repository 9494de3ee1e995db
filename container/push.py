"""Pushes the images, and writes their digests to imagedefinitions.json in CodePipeline's format."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

_DEFINITIONS = Path("imagedefinitions.json")


def main() -> int:
    """Push the images; return 1 if the build has failed or an image cannot be pushed, else 0."""
    options = _parser().parse_args()
    # CodeBuild runs these commands even if the build has failed.
    if os.environ.get("CODEBUILD_BUILD_SUCCEEDING") == "0":
        sys.stderr.write("the build has failed; no image is pushed\n")
        return 1
    if not options.registry:
        sys.stderr.write("expected a registry such as ACCOUNT.dkr.ecr.REGION.amazonaws.com, got none\n")
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
    """Push an image, and return its digest in the registry; None if the push failed."""
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
    parser.add_argument("target", nargs="+", help="tag of the local image, such as serving")
    for name in ("docker", "registry", "repository", "image", "revision"):
        parser.add_argument(f"--{name}", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
