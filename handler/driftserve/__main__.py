"""`python -m driftserve`: the command line, where the script is not on PATH."""

import sys

from driftserve.cli import main

if __name__ == "__main__":
    sys.exit(main())
