"""Command line `python -m driftserve_training.job`: run the training job of this container."""

import sys

from driftserve_training.job.job import main

if __name__ == "__main__":
    sys.exit(main())
