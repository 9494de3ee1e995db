"""The benchmark of the drift detector: `python -m driftserve_benchmark --archive FILE --data FOLDER`.

    make bench-drift DATA=folder [OOD=folder]        after `make demo` with the same DATA

Prints the tables of docs/drift.md. Exit status: 0 all targets met, 1 one is not, or the images or the archive cannot be
used (one line on stderr says why), 2 wrong usage.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from driftserve.archive.reading import find_archive, read_contract
from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve_benchmark.cells import score_all
from driftserve_benchmark.report import Extent, measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    options = _parser().parse_args(arguments)
    logging.getLogger("driftserve").setLevel(logging.ERROR)  # the monitor's alarms are what is measured
    extent = Extent(options.draws, options.windows, options.runs, options.power_windows, options.workers)
    try:
        archive = find_archive(options.archive)
        images = score_all(archive, options.data, options.ood, options.cache, options.workers)
        report = measure(images, read_contract(archive), extent)
    except DriftserveError as error:
        print(f"driftserve_benchmark: {error}", file=sys.stderr)
        return 1
    print(report.to_markdown())
    return 0 if report.is_met else 1


def _parser() -> Parser:
    parser = Parser(prog="python -m driftserve_benchmark")
    parser.add_argument("--archive", type=Path, default=Path("build/demo/model"), help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="folder with val/ and stream/, each <class>/<image>")
    parser.add_argument("--ood", type=Path, help="folder of images that are of no class")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-drift"), help="default: %(default)s")
    parser.add_argument("--draws", type=int, default=20, help="random halves (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5000, help="calm ones a draw (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=200, help="of 100 calm windows (default: %(default)s)")
    parser.add_argument("--power-windows", type=int, default=10, help="a cell and draw (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: a core each)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
