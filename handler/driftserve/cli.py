"""The command line: `driftserve serve | status | monitor`.

Exit status: 0 when it did what was asked, 1 when it could not (one line on stderr says why),
2 when the command line is wrong.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from driftserve import __version__
from driftserve.bootstrap import build_monitor, configure_logging
from driftserve.errors import DriftserveError, SettingsError
from driftserve.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        return run(options, settings)
    except DriftserveError as error:
        print(f"driftserve: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.supervisor import serve

    return serve(options.archive, options.port, settings)


def _monitor(_: argparse.Namespace, settings: Settings) -> int:
    if settings.runtime_dir is None:
        raise SettingsError("DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing; `driftserve serve` sets it")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
    build_monitor(settings, settings.runtime_dir).run(stop)
    return 0


def _status(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.runtime import find_runtime, read_status

    status = read_status(options.runtime_dir or settings.runtime_dir or find_runtime())
    print(json.dumps(status, indent=2) if options.json else _table(status["models"]))
    return 0


def _table(models: dict[str, dict[str, object]]) -> str:
    columns = ("state", "windows", "alarms", "observations", "dropped")
    rows = [("model", *columns), *((name, *(str(model[key]) for key in columns)) for name, model in models.items())]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns) + 1)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="driftserve", description="Serve a TorchScript classifier and watch it.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve an archive until Ctrl-C or SIGTERM")
    serve.add_argument("archive", type=Path, help="a .mar file, or a directory that holds one")
    serve.add_argument("--port", type=_port, default=8080, help="port to listen on (default: %(default)s)")
    serve.add_argument("--server", choices=["torchserve"], default="torchserve", help="default: %(default)s")
    serve.set_defaults(run=_serve)

    status = commands.add_parser("status", help="show what the running monitor sees")
    status.add_argument("--json", action="store_true", help="the whole status, with the last drift reports")
    status.add_argument("--runtime-dir", type=Path, help="which monitor, where several run")
    status.set_defaults(run=_status)

    monitor = commands.add_parser("monitor", help="the monitor process, which `serve` starts")
    monitor.set_defaults(run=_monitor)
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {port}")
    return port
