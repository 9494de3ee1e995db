"""Writes the locks: every version of a constraints file with the SHA-256 of each of its files. `make lock` runs it.

`python locks/write.py UV CONSTRAINTS LOCK`. If the constraints name torch, the lock has the hashes of PyTorch's CPU
wheels, from `torch-cpu.txt`, and also the CUDA packages that the package index's build of torch asks for.
"""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote

_CPU_WHEELS = Path(__file__).with_name("torch-cpu.txt")
_DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"
_WANTED = r"torch-{version}\+cpu-cp3(10|11|12|13)-cp3\1-manylinux\w+_(x86_64|aarch64)\.whl"
# No header, comment or option: they would name the package index of whoever runs this.
_OPTIONS = ("--universal", "--python-version", "3.11", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url")


def main(uv: str, constraints: Path, lock: Path) -> int:
    """Write the lock; return 1 if the hashes of torch's CPU wheels are not known."""
    pins = re.findall(r"^[\w.-]+==\S+$", constraints.read_text(), re.MULTILINE)
    torch = next((pin for pin in pins if pin.startswith("torch==")), None)
    wheels = _cpu_wheels(torch.partition("==")[2]) if torch else []
    if torch and not wheels:
        sys.stderr.write(
            f"expected hashes of {torch}+cpu, got none from {_cpu_index()}: run `make lock` where it answers\n"
        )
        return 1
    names = {pin.partition("==")[0] for pin in pins}
    if torch:
        cuda = _compile(uv, torch, "--constraint", str(constraints)).splitlines()
        pins += [line for line in cuda if line.partition("==")[0] not in names]
    hashes = "".join(f"    --hash=sha256:{wheel.split()[0]} \\\n" for wheel in wheels)
    text = _compile(uv, "\n".join(pins), "--no-deps", "--generate-hashes")
    if torch:
        text = text.replace(f"{torch} \\\n", f"{torch} \\\n{hashes}")
    lock.write_text(f"# Written by `make lock` from {constraints.name}; do not edit.\n{text}")
    return 0


def _cpu_wheels(version: str) -> list[str]:
    """The lines `SHA-256  FILE` of the CPU wheels, from PyTorch's index if it answers, else those that are known."""
    wanted = _WANTED.format(version=re.escape(version))
    try:
        with urllib.request.urlopen(f"https://{_cpu_index()}", timeout=20) as page:
            text = unquote(page.read().decode())
    except (urllib.error.URLError, TimeoutError):
        known = _CPU_WHEELS.read_text().splitlines()
        return [line for line in known if re.fullmatch(rf"[0-9a-f]{{64}}  {wanted}", line)]
    listed = {found[1]: found[2] for found in re.finditer(r"([^/\"]+\.whl)#sha256=([0-9a-f]{64})", text)}
    wheels = [f"{digest}  {name}" for name, digest in sorted(listed.items()) if re.fullmatch(wanted, name)]
    if wheels:
        _CPU_WHEELS.write_text("\n".join(wheels) + "\n")
    return wheels


def _cpu_index() -> str:
    """The page of PyTorch's CPU index, which the images use by default, with all builds of torch."""
    (index,) = re.findall(r"^ARG PIP_EXTRA_INDEX_URL=https://(\S+)$", _DOCKERFILE.read_text(), re.MULTILINE)
    return f"{index}/torch/"


def _compile(uv: str, requirements: str, *options: str) -> str:
    command = [uv, "pip", "compile", *_OPTIONS, *options, "-"]
    return subprocess.run(command, input=requirements, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
