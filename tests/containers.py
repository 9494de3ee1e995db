"""Real containers for tests. They use the images of `make image`, with the restrictions of strict platforms."""

import ipaddress
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import urllib3

from processes import wait_for

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ.get("IMAGE", "driftserve")
# As on SageMaker's serverless endpoints or a hardened cluster. Docker mounts the tmpfs noexec.
STRICT = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),  # noqa: S108
    *("--memory", "2g", "--memory-swap", "2g", "--pids-limit", "256"),
)
START_TIMEOUT_SECONDS = 60


def docker(*arguments: str, timeout_seconds: float = 120) -> str:
    """Run a docker command and return its stdout."""
    done = subprocess.run([DOCKER, *arguments], capture_output=True, text=True, timeout=timeout_seconds)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def tag(target: str) -> str:
    """Return the image name of a Dockerfile target; skip the test if Docker or the image is missing.

    With IMAGES=required, fail the test instead.
    """
    if shutil.which(DOCKER) is None or subprocess.run([DOCKER, "info"], capture_output=True).returncode != 0:
        refuse("the Docker engine does not answer")
    name = f"{IMAGE}:{target}"
    if subprocess.run([DOCKER, "image", "inspect", name], capture_output=True).returncode != 0:
        refuse(f"the image {name} is missing: run `make image`")
    return name


def refuse(reason: str) -> NoReturn:
    """Skip the test; with IMAGES=required, fail it."""
    if os.environ.get("IMAGES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def gateway() -> str:
    """Return the host's address as containers see it."""
    (network,) = json.loads(docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"))
    return str(network.get("Gateway") or next(ipaddress.ip_network(network["Subnet"]).hosts()))


def readable(directory: Path, *archives: Path) -> Path:
    """Copy the archives into a directory that the image's user can read; return it."""
    directory.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        shutil.copyfile(archive, directory / archive.name)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return directory


@dataclass(frozen=True)
class Container:
    """A container, running or exited."""

    id: str
    url: str = ""

    def post(
        self, body: bytes, content_type: str = "image/png", path: str = "/invocations"
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": content_type}
        return urllib3.request("POST", self.url + path, body=body, headers=headers, retries=False, timeout=70)

    def log(self) -> str:
        """Return its stdout and stderr so far."""
        done = subprocess.run([DOCKER, "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout

    def run(self, *command: str) -> str:
        """Run a command in the container and return its stdout."""
        return docker("exec", self.id, *command)

    def status(self) -> str:
        """Return the output of `driftserve status`; empty while no monitor runs."""
        done = subprocess.run([DOCKER, "exec", self.id, "driftserve", "status"], capture_output=True, text=True)
        return done.stdout

    def processes(self) -> dict[int, str]:
        """Return the command lines of the live processes, by process id in the container."""
        script = (
            "import json, pathlib\n"
            "def line(p):\n"
            "    try: return p.joinpath('cmdline').read_bytes().replace(b'\\0', b' ').decode()\n"
            "    except OSError: return ''\n"
            "print(json.dumps({p.name: line(p) for p in pathlib.Path('/proc').glob('[0-9]*')}))"
        )
        listed: Mapping[str, str] = json.loads(self.run("python", "-c", script))
        return {int(number): line for number, line in listed.items() if line and script[:20] not in line}

    def find(self, *words: str) -> list[int]:
        """Return the ids of processes whose command line contains all these words, oldest first."""
        return sorted(number for number, line in self.processes().items() if all(word in line for word in words))

    def workers(self) -> list[int]:
        """Return the ids of live workers that loaded the model. Each leaves a mark file in the runtime directory."""
        marks = self.run("sh", "-c", "cd /tmp/driftserve-*/1/workers 2>/dev/null && ls || true").split()
        return sorted(self.processes().keys() & set(map(int, marks)))

    def kill(self, process_id: int) -> None:
        """Send SIGKILL, as the kernel does when memory runs out."""
        self.run("python", "-c", f"import os; os.kill({process_id}, 9)")

    def signal(self, name: str) -> None:
        docker("kill", "--signal", name, self.id)

    def wait(self, timeout_seconds: float = 60) -> int:
        """Wait until it exits; return its exit status."""
        return int(docker("wait", self.id, timeout_seconds=timeout_seconds))

    def is_running(self) -> bool:
        return docker("inspect", "--format", "{{.State.Running}}", self.id) == "true"

    def memory_bytes(self) -> int:
        """Return the memory use of its control group (v1 or v2), without the reclaimable file cache."""
        script = (
            "from pathlib import Path\n"
            "g = Path('/sys/fs/cgroup')\n"
            "new = (g / 'memory.current').exists()\n"
            "used = g / ('memory.current' if new else 'memory/memory.usage_in_bytes')\n"
            "stat = dict(line.split() for line in used.with_name('memory.stat').read_text().splitlines())\n"
            "print(int(used.read_text()) - int(stat['inactive_file' if new else 'total_inactive_file']))"
        )
        return int(self.run("python", "-c", script))


@contextmanager
def container(
    image: str, *command: str, options: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Iterator[Container]:
    """Start a container; remove it at the end of the block."""
    variables = [part for name, value in (settings or {}).items() for part in ("--env", f"{name}={value}")]
    started = Container(docker("run", "--detach", *STRICT, *options, *variables, image, *command))
    try:
        yield started
    finally:
        docker("rm", "--force", "--volumes", started.id)


@contextmanager
def serving(
    image: str, model_dir: Path, *options: str, place: str = "/opt/ml/model", **settings: str
) -> Iterator[Container]:
    """Start a container that serves an archive on a loopback port; yield it when it is ready."""
    published = ("--publish", "127.0.0.1::8080", "--volume", f"{model_dir}:{place}:ro", *options)
    workers = 0 if "SAGEMAKER_MULTI_MODEL" in settings else 2
    settings |= {"DRIFTSERVE_WORKERS": str(workers)} if workers else {}
    with container(image, "serve", options=published, settings=settings) as started:

        def is_ready() -> bool:
            assert started.is_running(), started.log()
            return '"ready: ' in started.log()

        wait_for(is_ready, START_TIMEOUT_SECONDS)
        ready = Container(started.id, "http://" + docker("port", started.id, "8080"))
        wait_for(lambda: len(ready.workers()) == workers, START_TIMEOUT_SECONDS)
        yield ready


def seconds_to_first_answer(url: str, body: bytes, since: float) -> float:
    """Wait for the first answered image; return the seconds since `since` (monotonic clock)."""

    def is_answered() -> bool:
        try:
            headers = {"Content-Type": "image/png"}
            return (
                urllib3.request("POST", f"{url}/invocations", body=body, headers=headers, retries=False).status == 200
            )
        except urllib3.exceptions.HTTPError:
            return False

    wait_for(is_answered, START_TIMEOUT_SECONDS)
    return time.monotonic() - since
