"""`python -m driftserve`: the command line, if the `driftserve` script is not on PATH."""

import sys

from driftserve.cli import main

if __name__ == "__main__":
    sys.exit(main())
