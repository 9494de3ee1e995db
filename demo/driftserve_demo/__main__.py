"""The command line of the demo: `python -m driftserve_demo`, which `make demo` runs.

Writes `report.json`, `card.html` and a log for each stage. Exit status: 0 success, 1 a stage failed, 130 Ctrl-C.
"""

import argparse
import json
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.host.claim import claim
from driftserve.host.ports import check_port_is_free
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        _run(options)
    except (DriftserveError, OSError) as error:
        print(f"demo: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        echo = "\r" if sys.stderr.isatty() else ""  # overwrites the ^C that the terminal has shown
        print(f"{echo}demo: interrupted", file=sys.stderr)
        return 130
    return 0


def _stop(number: int, _: FrameType | None) -> None:
    """Leave the running stage, which stops its child processes; ignore a second signal meanwhile."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _run(arguments: argparse.Namespace) -> None:
    # Imported here, because these imports take a second, in which Ctrl-C must not print a traceback.
    from rich.console import Console

    from driftserve_demo.display import Display
    from driftserve_demo.report import align, to_table
    from driftserve_demo.stages import DemoOptions, StageError, example_image, run

    options = DemoOptions(**vars(arguments))
    keep_to_temporary_directory()
    claim(options.output, "give another --output", earlier=("demo.log",))
    path = options.output / "report.json"
    for old in (path, *options.output.glob("*.log")):
        old.unlink(missing_ok=True)
    # Warnings of this process, and moto's server, which runs in it.
    logging.basicConfig(filename=options.output / "demo.log", level=logging.WARNING)
    logging.captureWarnings(True)
    check_port_is_free("127.0.0.1", options.port)  # before minutes of training
    try:
        with Display(Console()) as display:
            report = run(options, display)
    except StageError as error:
        raise DriftserveError(error.describe()) from error
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    serve, *curl = _next_commands(options.output, options.port, *example_image(options))
    next_steps = [
        ("report", str(path)),
        ("model card", str(options.output / "card.html")),
        ("next", serve),
        *(("", line) for line in curl),
    ]
    print(f"\n{to_table(report)}\n\n{align(next_steps)}")


def _next_commands(output: Path, port: int, image: Path, content_type: str) -> tuple[str, str, str]:
    archive = "" if output == _parser().get_default("output") else f" ARCHIVE={shlex.quote(str(output / 'model'))}"
    return (
        f"make serve PORT={port}{archive}",
        f"curl -H 'Content-Type: {content_type}' \\",
        f"  --data-binary @{shlex.quote(str(image))} localhost:{port}/invocations",
    )


def _parser() -> Parser:
    parser = Parser(prog="python -m driftserve_demo", description="Train, serve and find drift on this machine.")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="port of the server (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, help="folder with train/ val/ test/ stream/, each <class>/*.jpg (default: drawn images)"
    )
    parser.add_argument(
        "--weights", type=Path, help="a timm weights file (default: none for drawn images, else timm's)"
    )
    parser.add_argument("--model", help="the name of a timm model")
    parser.add_argument("--epochs", type=int, help="number of training epochs")
    parser.add_argument("--quick", action="store_true", help="draw fewer images and send less traffic")
    return parser


if __name__ == "__main__":
    sys.exit(main())
