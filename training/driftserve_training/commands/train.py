"""Command `train`: fit a network, choose the best epoch, calibrate."""

import argparse
import os

from driftserve_training.commands.command import Command
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.parameters import add_flags, read_configuration


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, TrainingConfiguration)


def _run(options: argparse.Namespace) -> dict[str, object] | None:
    from driftserve_training.fitting.training import train

    record = train(read_configuration(options, os.environ))
    if record is None:  # under torchrun only the first process prints the result
        return None
    return {"val_accuracy": record.val_accuracy, "best_epoch": record.best_epoch, "seconds": record.seconds}


TRAIN = Command("train a network, choose its best epoch by validation, calibrate it", _add_arguments, _run)
