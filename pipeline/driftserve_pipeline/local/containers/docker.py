"""The Docker engine of this machine, by its command line."""

import ipaddress
import json
import shutil
import subprocess

from driftserve.errors import PipelineError

_NETWORK = "sagemaker-local"  # which local mode makes, and leaves


def bridge_address() -> str:
    """The address at which containers reach this machine, and it itself.

    Raises:
        PipelineError: no engine answers, or its default bridge has no address.
    """
    if shutil.which("docker") is None:
        raise PipelineError("expected Docker, got no command `docker`; install it, or run `make pipeline-dry`")
    described = json.loads(_docker("network", "inspect", "bridge"))
    for pool in described[0]["IPAM"]["Config"] or ():
        return str(pool.get("Gateway") or next(ipaddress.ip_network(pool["Subnet"]).hosts()))  # some engines name none
    raise PipelineError("expected an address of Docker's network `bridge`, got none; run `make pipeline-dry`")


def refuse_missing(image: str) -> None:
    """Pass if there is an image of that name here.

    Raises:
        PipelineError: there is none.
    """
    if not _docker("image", "ls", "--quiet", image).strip():
        raise PipelineError(f"expected the image {image}, got none of that name here; `make image` builds it")


def networks() -> frozenset[str]:
    """The networks of local mode that there are."""
    return frozenset(_docker("network", "ls", "--quiet", "--no-trunc", "--filter", f"name=^{_NETWORK}$").split())


def remove(label: str, before: frozenset[str]) -> None:
    """Remove the containers with a label, and the networks of local mode that were not there before."""
    for container in _docker("ps", "--all", "--quiet", "--filter", f"label={label}").split():
        _docker("rm", "--force", "--volumes", container)
    for network in networks() - before:
        _docker("network", "rm", network)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise PipelineError(f"docker {' '.join(arguments[:2])}: expected it to be done, got {reason}")
    return done.stdout
