"""The command line: `driftserve serve | predict | verify | inspect | status | replay | rebaseline`.

Exit status: 0 when it did what was asked, 1 when it could not (one line on stderr says why),
2 when the command line is wrong, 130 at Ctrl-C where it does not end the command in order.
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
from driftserve.bootstrap import build_monitor, build_service, configure_logging
from driftserve.command_line import Parser
from driftserve.errors import DriftserveError, SettingsError
from driftserve.host.guard import end_with_parent
from driftserve.host.stop import stop_at
from driftserve.settings import Settings
from driftserve.text import printable

_ARCHIVE_HELP = "a .mar file, or a directory that holds one"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        settings = Settings.from_environment()
        configure_logging(settings)
        return run(options, settings)
    except DriftserveError as error:
        reason = str(error)
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # a file or a directory that was named cannot be used
        reason = str(error)
    print(f"driftserve: {printable(' '.join(reason.split()))}", file=sys.stderr)
    return 1


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    # First of all: as process 1 of a container it would not even be asked to end without a handler.
    stop = stop_at(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    from driftserve.servers.supervisor import serve

    if settings.multi_model and options.archive is not None:
        raise SettingsError(
            f"expected no archive in multi-model mode, got {options.archive}; archives are loaded from "
            f"{settings.models_dir} by request, unset DRIFTSERVE_MULTI_MODEL and SAGEMAKER_MULTI_MODEL to serve one"
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
    print(contract.model_dump_json(indent=2) if options.json else presentation.describe(contract, digest))
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
    reports = replay(
        _recorded(options),
        contract,
        digest,
        settings.window_size,
        settings.windows_between_false_alarms,
    )
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
    )
    print(json.dumps({"archive": str(done.archive), "reference_images": done.rows}))
    return 0


def _recorded(options: argparse.Namespace) -> Iterable[bytes]:
    """The lines of a record, or those that a function's log holds."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
    if options.parent is not None:
        end_with_parent(options.parent)
    build_monitor(settings, settings.runtime_dir).run(stop)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="driftserve",
        description="Serve a TorchScript classifier and watch it.",
        epilog="Settings are environment variables, DRIFTSERVE_*: docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_serving(commands)
    _add_archive_tools(commands)
    _add_monitoring(commands)
    return parser


def _add_serving(commands: "argparse._SubParsersAction[Parser]") -> None:
    serve = commands.add_parser("serve", help="serve an archive until Ctrl-C or SIGTERM")
    serve.add_argument(
        "archive", type=Path, nargs="?", help=f"{_ARCHIVE_HELP} (default: DRIFTSERVE_MODEL_DIR, /opt/ml/model)"
    )
    serve.add_argument("--port", type=_port, help="port to listen on (default: DRIFTSERVE_PORT, else 8080)")
    serve.add_argument(
        "--server",
        choices=["torchserve", "mms"],
        help="which model server (default: DRIFTSERVE_SERVER, else torchserve)",
    )
    serve.set_defaults(run=_serve)


def _add_archive_tools(commands: "argparse._SubParsersAction[Parser]") -> None:
    predict = commands.add_parser("predict", help="classify image files, as the server would; a JSON line each")
    predict.add_argument("image", type=Path, nargs="+", help="an image file")
    predict.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    predict.set_defaults(run=_predict)

    verify = commands.add_parser("verify", help="hold an archive against its contract; name, version and digest")
    verify.add_argument("archive", type=Path, help=_ARCHIVE_HELP)
    verify.add_argument("--unpack", type=Path, metavar="DIR", help="leave the verified files in a new directory")
    _add_parent(verify)
    verify.set_defaults(run=_verify)

    inspect = commands.add_parser("inspect", help="show what an archive holds, without loading its model")
    inspect.add_argument("archive", type=Path, help=_ARCHIVE_HELP)
    inspect.add_argument("--json", action="store_true", help="the whole contract")
    inspect.set_defaults(run=_inspect)


def _add_monitoring(commands: "argparse._SubParsersAction[Parser]") -> None:
    status = commands.add_parser("status", help="show what the running monitor sees")
    status.add_argument("--json", action="store_true", help="the whole status, with the last drift reports")
    status.add_argument("--runtime-dir", type=Path, help="which monitor, where several run")
    status.set_defaults(run=_status)

    replay = commands.add_parser("replay", help="give the verdicts on recorded observations again; a JSON line each")
    replay.add_argument("file", type=Path, nargs="+", help="recorded observations, all files of one record")
    _add_log(replay)
    replay.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    replay.set_defaults(run=_replay)

    rebaseline = commands.add_parser("rebaseline", help="make recorded traffic the reference of a new archive version")
    rebaseline.add_argument("file", type=Path, nargs="+", help="recorded observations of traffic that is accepted")
    _add_log(rebaseline)
    rebaseline.add_argument("--archive", type=Path, required=True, help=_ARCHIVE_HELP)
    rebaseline.add_argument("--new-version", required=True, help="of the archive that is written")
    rebaseline.add_argument("--output", type=Path, required=True, help="directory for the new archive")
    rebaseline.add_argument("--images", type=Path, help="folder of images like the traffic, to measure power with")
    rebaseline.set_defaults(run=_rebaseline)

    monitor = commands.add_parser("monitor", help="the monitor process, which `serve` starts")
    _add_parent(monitor)
    monitor.set_defaults(run=_monitor)


def _add_log(command: Parser) -> None:
    command.add_argument("--log", action="store_true", help="the files are a Lambda function's log, in any order")


def _add_parent(command: Parser) -> None:
    command.add_argument("--parent", type=int, metavar="PID", help="a process with which this one ends")


def _port(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)
