"""What the image runs: `driftserve` with the arguments that SageMaker or `docker run` give."""

import sys

from driftserve.cli import main

sys.exit(main(sys.argv[1:]))
