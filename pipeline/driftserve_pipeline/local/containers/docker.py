"""Control Docker on this machine through its command line."""

import contextlib
import ipaddress
import json
import subprocess
from dataclasses import dataclass

from driftserve_pipeline.errors import PipelineError

_NETWORK = "sagemaker-local"  # local mode creates it, and does not remove it


@dataclass(frozen=True)
class Engine:
    """Docker, or another engine with the same commands; `command` is its program."""

    command: str

    def bridge_address(self) -> str:
        """Return the address under which the containers and this machine itself can reach this machine.

        Raises:
            PipelineError: Docker does not respond, or its default bridge has no address.
        """
        described = json.loads(self._run("network", "inspect", "bridge"))
        for pool in described[0]["IPAM"]["Config"] or ():  # some engines name no gateway
            return str(pool.get("Gateway") or next(ipaddress.ip_network(pool["Subnet"]).hosts()))
        raise PipelineError("expected an address of Docker's network `bridge`, got none; run `make pipeline-dry`")

    def check_image(self, image: str) -> None:
        """Check that a Docker image with this name exists on this machine.

        Raises:
            PipelineError: the Docker image does not exist.
        """
        if not self._run("image", "ls", "--quiet", image).strip():
            raise PipelineError(f"expected the Docker image {image}, got none with this name; `make image` builds it")

    def networks(self) -> frozenset[str]:
        """Return the existing networks of local mode."""
        return frozenset(self._run("network", "ls", "--quiet", "--no-trunc", "--filter", f"name=^{_NETWORK}$").split())

    def remove(self, label: str, before: frozenset[str]) -> None:
        """Remove the containers with a label, and the networks of local mode that did not exist before."""
        for container in self._run("ps", "--all", "--quiet", "--filter", f"label={label}").split():
            self._run("rm", "--force", "--volumes", container)
        for network in self.networks() - before:
            with contextlib.suppress(PipelineError):  # another run uses it now, and may remove it
                self._run("network", "rm", network)

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run([self.command, *arguments], capture_output=True, text=True, check=False)
        except OSError as error:
            raise PipelineError(
                f"expected Docker, got no command `{self.command}` that can be run; "
                "install it, or run `make pipeline-dry`"
            ) from error
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise PipelineError(f"docker {' '.join(arguments[:2])} failed: {reason}")
        return done.stdout
