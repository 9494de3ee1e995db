"""The command line of the benchmark: `python -m driftserve_benchmark --archive FILE --data FOLDER`.

    make bench-drift DATA=folder [OOD=folder]        after `make demo` with the same DATA

Prints the tables of docs/drift.md. Exit status: 0 if all targets are met; 1 if one is not, or if the images or the
archive cannot be used (one line on stderr gives the reason); 2 for wrong usage.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from driftserve.archive.reading import find_archive, read_contract
from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.host.temporary import keep_to_temporary_directory
from driftserve.text import printable
from driftserve_benchmark.cells import score_all
from driftserve_benchmark.report import Extent, measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("driftserve").setLevel(logging.ERROR)  # the alarms of the monitor are expected here
    extent = Extent(options.draws, options.windows, options.runs, options.power_windows, options.workers)
    try:
        keep_to_temporary_directory()
        archive = find_archive(options.archive)
        images = score_all(archive, options.data, options.ood, options.cache, options.workers)
        report = measure(images, read_contract(archive), extent)
    except DriftserveError as error:
        print(f"driftserve_benchmark: {printable(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("driftserve_benchmark: interrupted", file=sys.stderr)
        return 130
    print(report.to_markdown())
    return 0 if report.is_met else 1


def _parser() -> Parser:
    parser = Parser(prog="python -m driftserve_benchmark", description="Measure the drift detector of an archive.")
    parser.add_argument(
        "--archive",
        type=Path,
        default=Path("build/demo/model"),
        help="a .mar file or its folder (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with val/ and stream/, each <class>/<image>")
    parser.add_argument("--ood", type=Path, help="folder of images that belong to no class")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/bench-drift"), help="folder for scored images (default: %(default)s)"
    )
    parser.add_argument(
        "--draws", type=int, default=20, help="number of random halves of the images (default: %(default)s)"
    )
    parser.add_argument("--windows", type=int, default=5000, help="calm windows for each half (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=200, help="number of runs of 100 calm windows (default: %(default)s)"
    )
    parser.add_argument(
        "--power-windows",
        type=int,
        default=10,
        help="windows for each corruption, severity and half (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="number of processes (default: one for each core)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
