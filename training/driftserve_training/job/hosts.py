"""Hosts of a training job, from `resourceconfig.json`."""

import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from driftserve.errors import DataError
from driftserve_training.job.platform_file import read_platform_file

_PORT = "29500"  # torchrun's default port


class Hosts(BaseModel):
    """The hosts of a job: names of all hosts (`algo-1`, sometimes `algo-1-9f24b`), and the name of this host."""

    model_config = ConfigDict(frozen=True)

    hosts: tuple[str, ...] = Field(default=("localhost",), min_length=1)
    current_host: str = "localhost"
    network_interface_name: str | None = None

    def torchrun(self, processes_per_host: int, module: str) -> list[str]:
        """Return the torchrun command for this host, which runs a module in processes on all hosts.

        `MASTER_PORT` sets the port on the first host.
        """
        hosts = sorted(self.hosts)  # all hosts must use the same order
        return [
            *(sys.executable, "-m", "torch.distributed.run"),
            f"--nnodes={len(hosts)}",
            f"--node_rank={hosts.index(self.current_host)}",
            f"--nproc_per_node={processes_per_host}",
            f"--master_addr={hosts[0]}",
            f"--master_port={os.environ.get('MASTER_PORT', _PORT)}",
            *("-m", module),
        ]

    def environment(self, processes_per_host: int) -> dict[str, str]:
        """Return environment variables for these processes: the network interface, and threads per process."""
        threads = max(1, len(os.sched_getaffinity(0)) // processes_per_host)
        environment = {"OMP_NUM_THREADS": str(threads)}
        if self.network_interface_name:
            environment |= dict.fromkeys(("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"), self.network_interface_name)
        return environment


def read_hosts(path: Path) -> Hosts:
    """Read the hosts from a file; without a file, return this host alone.

    Raises:
        DataError: the file breaks the schema, or does not list this host.
    """
    hosts = read_platform_file(path, Hosts, Hosts())
    if hosts.current_host not in hosts.hosts:
        raise DataError(
            f"{path}: expected current_host to be one of {', '.join(hosts.hosts)}, got {hosts.current_host!r}"
        )
    return hosts
