#!/opt/venv/bin/python
"""The program `train` of the training image: runs the job that SageMaker, or `docker run`, has put under /opt/ml."""

import sys

from driftserve_training.job.job import main

sys.exit(main())
