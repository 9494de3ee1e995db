"""The command line: `driftserve serve | predict | verify | inspect | status | replay | rebaseline`.

Exit status: 0 on success; 1 on failure, with the reason in one line on stderr; 2 for a wrong command line;
130 for Ctrl-C, except in `serve`, which Ctrl-C stops with status 0.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from driftserve import __version__, presentation
from driftserve.archive.reading import find_archive, read_archive
from driftserve.bootstrap import build_monitor, build_service, configure_logging, drift_overrides
from driftserve.command_line import Parser, describe
from driftserve.errors import DriftserveError, SettingsError
from driftserve.host.guard import end_with_parent
from driftserve.host.stop import stop_at
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.settings import Settings
from driftserve.text import printable

_ARCHIVE_HELP = "a .mar file, or a directory with one .mar file"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        keep_to_temporary_directory()
        settings = Settings.from_environment()
        configure_logging(settings)
        return run(options, settings)
    except DriftserveError as error:
        reason = str(error)
    except KeyboardInterrupt:
        print("driftserve: interrupted", file=sys.stderr)
        return 130
    except OSError as error:  # a given file or directory cannot be used
        reason = str(error)
    print(f"driftserve: {printable(' '.join(reason.split()))}", file=sys.stderr)
    return 1


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    # Before anything else: the kernel sends process 1 of a container only the signals that it handles.
    stop = stop_at(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    from driftserve.servers.supervisor import serve

    if settings.multi_model and options.archive is not None:
        raise SettingsError(
            f"expected no archive in multi-model mode, where requests load archives from {settings.models_dir}, got "
            f"{options.archive}; unset DRIFTSERVE_MULTI_MODEL and SAGEMAKER_MULTI_MODEL to serve one archive"
        )
    chosen = {"model_dir": options.archive, "port": options.port, "server": options.server}
    update = {name: value for name, value in chosen.items() if value is not None}
    return serve(settings.model_copy(update=update), stop)


def _predict(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.inference.service import Request
    from driftserve.inference.verification import verify_archive

    unwatched = settings.model_copy(update={"runtime_dir": None})
    status = 0
    with tempfile.TemporaryDirectory() as scratch:
        archive = find_archive(options.archive)
        verified = verify_archive(archive, Path(scratch, "model"), settings.archive_sha256)
        service = build_service(verified.directory, unwatched)
        for image in options.image:
            request = Request(image.read_bytes(), "application/octet-stream", str(image))
            (response,) = service.predict([request])
            print(json.dumps(response.body))
            status = status if response.status == 200 else 1
    return status


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.inference.verification import verify_archive

    if options.parent is not None:
        end_with_parent(options.parent)
    archive = find_archive(options.archive)
    with contextlib.nullcontext(options.unpack) if options.unpack else tempfile.TemporaryDirectory() as directory:
        verified = verify_archive(archive, Path(directory), settings.archive_sha256)
    print(f"{verified.contract.display_name} {verified.digest}")
    return 0


def _inspect(options: argparse.Namespace, _: Settings) -> int:
    contract, digest = read_archive(find_archive(options.archive))
    # `model_dump_json` would write text beyond ASCII as it is, and with it commands for the terminal.
    as_json = json.dumps(contract.model_dump(mode="json"), indent=2) if options.json else None
    print(as_json or presentation.describe(contract, digest))
    return 0


def _status(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.runtime.directory import find_runtime
    from driftserve.runtime.status import read_status

    status = read_status(options.runtime_dir or settings.runtime_dir or find_runtime())
    print(json.dumps(status, indent=2) if options.json else presentation.table(status, time.time()))
    return 0


def _replay(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.drift.report import report_to_json
    from driftserve.observations.replay import replay

    contract, digest = read_archive(find_archive(options.archive))
    reports = replay(_recorded(options), contract, digest, drift_overrides(settings))
    for report in reports:
        print(report_to_json(report))
    return 0


def _rebaseline(options: argparse.Namespace, settings: Settings) -> int:
    from driftserve.certification.rebaseline import rebaseline

    done = rebaseline(
        find_archive(options.archive),
        _recorded(options),
        options.new_version,
        options.output,
        options.images,
        settings.archive_sha256,
        options.served_as,
    )
    print(json.dumps({"archive": str(done.archive), "reference_images": done.rows}))
    return 0


def _recorded(options: argparse.Namespace) -> Iterable[bytes]:
    """Return the lines of a record, or of a Lambda function's log with `--log`."""
    from driftserve.observations.function_log import batches_in_log
    from driftserve.observations.recorder import oldest_first

    lines = _lines(oldest_first(options.file))
    return batches_in_log(lines) if options.log else lines


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from file


def _monitor(options: argparse.Namespace, settings: Settings) -> int:
    if settings.runtime_dir is None:
        raise SettingsError("DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing; `driftserve serve` sets it")
    stop = stop_at(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C
    if options.parent is not None:
        end_with_parent(options.parent)
    build_monitor(settings, settings.runtime_dir).run(stop)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="driftserve",
        description="Serve a TorchScript image classifier and detect drift in its traffic.",
        epilog="Settings are environment variables DRIFTSERVE_*; docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_serving(commands)
    _add_archive_tools(commands)
    _add_monitoring(commands)
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[Parser]", name: str, help_line: str, details: str = ""
) -> Parser:
    return commands.add_parser(name, help=help_line, description=describe(help_line, details))


def _add_serving(commands: "argparse._SubParsersAction[Parser]") -> None:
    serve = _add_command(commands, "serve", "serve an archive until Ctrl-C or SIGTERM")
    serve.add_argument(
        "archive", type=Path, nargs="?", help=f"{_ARCHIVE_HELP} (default: DRIFTSERVE_MODEL_DIR, /opt/ml/model)"
    )
    serve.add_argument("--port", type=_port, help="port to listen on (default: DRIFTSERVE_PORT, else 8080)")
    serve.add_argument(
        "--server",
        choices=["torchserve", "mms"],
        help="model server to use; mms is Multi Model Server (default: DRIFTSERVE_SERVER, else torchserve)",
    )
    serve.set_defaults(run=_serve)


def _add_archive_tools(commands: "argparse._SubParsersAction[Parser]") -> None:
    predict = _add_command(
        commands, "predict", "classify image files as the server does; print one line of JSON for each file"
    )
    predict.add_argument("image", type=Path, nargs="+", help="image file")
    predict.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    predict.set_defaults(run=_predict)

    verify = _add_command(
        commands,
        "verify",
        "check that an archive is complete, unchanged and answers its golden images; print its content digest",
        "The model must give the recorded results for the golden images of the archive.",
    )
    verify.add_argument("archive", type=Path, help=_ARCHIVE_HELP)
    verify.add_argument(
        "--unpack", type=Path, metavar="DIR", help="unpack the verified files into DIR, which must be new or empty"
    )
    _add_parent(verify)
    verify.set_defaults(run=_verify)

    inspect = _add_command(
        commands, "inspect", "describe an archive and its drift certificate, without loading its model"
    )
    inspect.add_argument("archive", type=Path, help=_ARCHIVE_HELP)
    inspect.add_argument("--json", action="store_true", help="print the whole contract as JSON")
    inspect.set_defaults(run=_inspect)


def _add_monitoring(commands: "argparse._SubParsersAction[Parser]") -> None:
    status = _add_command(commands, "status", "show the status of the running monitor")
    status.add_argument("--json", action="store_true", help="print the status as JSON, with the last drift reports")
    status.add_argument(
        "--runtime-dir",
        type=Path,
        metavar="DIR",
        help="runtime directory of the monitor (default: DRIFTSERVE_RUNTIME_DIR, else that of the running monitor); "
        "choose one if several monitors run: the error message lists them",
    )
    status.set_defaults(run=_status)

    replay = _add_command(
        commands, "replay", "compute the drift reports of recorded observations again; print them as lines of JSON"
    )
    replay.add_argument("file", type=Path, nargs="+", help="recorded observations; give all files of one record")
    _add_log(replay)
    replay.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    replay.set_defaults(run=_replay)

    rebaseline = _add_command(
        commands, "rebaseline", "write a new version of an archive, with recorded traffic as its reference"
    )
    rebaseline.add_argument("file", type=Path, nargs="+", help="recorded observations of traffic to accept as normal")
    _add_log(rebaseline)
    rebaseline.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    rebaseline.add_argument(
        "--served-as",
        metavar="NAME",
        help="name under which a multi-model server had the archive; needed if it had several",
    )
    rebaseline.add_argument("--new-version", required=True, help="version of the new archive")
    rebaseline.add_argument("--output", type=Path, required=True, help="directory for the new archive")
    rebaseline.add_argument(
        "--images",
        type=Path,
        help="folder of images like the traffic, to measure detection power; without it, power is not measured",
    )
    rebaseline.set_defaults(run=_rebaseline)

    monitor = _add_command(
        commands, "monitor", "run the monitor process; `serve` starts it, so you need not run it yourself"
    )
    _add_parent(monitor)
    monitor.set_defaults(run=_monitor)


def _add_log(command: Parser) -> None:
    command.add_argument(
        "--log", action="store_true", help="the files are logs of a Lambda function; their order does not matter"
    )


def _add_parent(command: Parser) -> None:
    command.add_argument("--parent", type=int, metavar="PID", help="stop when process PID stops; `serve` uses this")


def _port(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)
