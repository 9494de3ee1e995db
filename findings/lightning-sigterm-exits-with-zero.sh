#!/usr/bin/env bash
# Lightning 2.6.6: a training script that gets SIGTERM ends with exit status 0.
#
# Expected: a script that was stopped before its training ended does not report success: 143 by default, or some other
# status than 0. Seen (Python 3.11): Trainer.fit handles SIGTERM and raises SIGTERMException after the running batch.
# That is a SystemExit without a code, so Python ends with status 0, and the line after `fit` is not reached. A scheduler
# that looks at the status takes the stopped training for a finished one. On Ctrl-C the status is 1.
#
# Output seen:
#   SIGTERM: exit status 0, finished: False
#   SIGINT: exit status 1, finished: False
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightning==2.6.6
cat >"$folder/train.py" <<'PY'
import time

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        print("step", flush=True)
        time.sleep(0.05)
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


trainer = lightning.Trainer(
    max_epochs=1000, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(Model(), DataLoader(TensorDataset(torch.zeros(64, 2)), batch_size=4))
print("finished", flush=True)
PY
cat >"$folder/stop.py" <<'PY'
import signal
import subprocess
import sys

statuses = {}
for number in (signal.SIGTERM, signal.SIGINT):
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as training:
        for line in training.stdout:
            if line.startswith("step"):
                break
        training.send_signal(number)
        rest, _ = training.communicate(timeout=60)
    statuses[number] = training.returncode
    print(f"{number.name}: exit status {training.returncode}, finished: {'finished' in rest}")
raise SystemExit(0 if statuses == {signal.SIGTERM: 0, signal.SIGINT: 1} else 1)
PY
"$folder/venv/bin/python" "$folder/stop.py" "$folder/train.py"
