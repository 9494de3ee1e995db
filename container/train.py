#!/opt/venv/bin/python
"""What the training image runs as `train`: the job that SageMaker, or `docker run`, has put under /opt/ml."""

import sys

from driftserve_training.job.job import main

sys.exit(main())
