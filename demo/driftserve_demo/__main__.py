"""The command line: `python -m driftserve_demo`, which `make demo` runs.

Writes `report.json` and shows it as a table. Exit status: 0 the run ended, 1 a stage failed.
"""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.host.ports import check_port_is_free
from driftserve_demo.report import to_table
from driftserve_demo.stages import DemoOptions, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status."""
    options = DemoOptions(**vars(_parser().parse_args(arguments)))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "report.json"
    path.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: stop what was started
    try:
        check_port_is_free("127.0.0.1", options.port)  # before minutes of training
        report = run(options)
    except DriftserveError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    print(f"\n{to_table(report)}\n\nThe same figures: {path}\nServe this archive: make serve")
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m driftserve_demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="port of the server (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder with train/ val/ test/ stream/, each <class>/*.jpg")
    parser.add_argument("--weights", type=Path, help="a timm weights file")
    parser.add_argument("--model", help="a timm model")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="fewer drawn images, and less traffic")
    return parser


if __name__ == "__main__":
    sys.exit(main())
