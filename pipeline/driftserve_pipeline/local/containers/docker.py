"""The Docker engine of this machine, by its command line."""

import contextlib
import ipaddress
import json
import subprocess
from dataclasses import dataclass

from driftserve_pipeline.errors import PipelineError

_NETWORK = "sagemaker-local"  # which local mode makes, and leaves


@dataclass(frozen=True)
class Engine:
    """The engine that a command, `docker` or its like, speaks to."""

    command: str

    def bridge_address(self) -> str:
        """The address at which containers reach this machine, and it itself.

        Raises:
            PipelineError: no engine answers, or its default bridge has no address.
        """
        described = json.loads(self._run("network", "inspect", "bridge"))
        for pool in described[0]["IPAM"]["Config"] or ():  # some engines name no gateway
            return str(pool.get("Gateway") or next(ipaddress.ip_network(pool["Subnet"]).hosts()))
        raise PipelineError("expected an address of Docker's network `bridge`, got none; run `make pipeline-dry`")

    def check_image(self, image: str) -> None:
        """Pass if there is an image of that name here.

        Raises:
            PipelineError: there is none.
        """
        if not self._run("image", "ls", "--quiet", image).strip():
            raise PipelineError(f"expected the image {image}, got none of that name here; `make image` builds it")

    def networks(self) -> frozenset[str]:
        """The networks of local mode that there are."""
        return frozenset(self._run("network", "ls", "--quiet", "--no-trunc", "--filter", f"name=^{_NETWORK}$").split())

    def remove(self, label: str, before: frozenset[str]) -> None:
        """Remove the containers with a label, and the networks of local mode that were not there before."""
        for container in self._run("ps", "--all", "--quiet", "--filter", f"label={label}").split():
            self._run("rm", "--force", "--volumes", container)
        for network in self.networks() - before:
            with contextlib.suppress(PipelineError):  # another run has come to use it, and may remove it
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
            raise PipelineError(f"docker {' '.join(arguments[:2])}: expected it to be done, got {reason}")
        return done.stdout
