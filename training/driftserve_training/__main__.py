"""The command line: `python -m driftserve_training train | export`.

    python -m driftserve_training train --data DATA --output build/scenes --weights FILE --image-size 128
    python -m driftserve_training export --trained build/scenes --data DATA --output build/scenes

Exit status: 0 done, 1 the data or the network is refused (one line on stderr says why), 2 wrong usage.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from driftserve.contract import ModelName, ModelVersion
from driftserve.errors import DriftserveError
from driftserve_training.configuration import TrainingConfiguration


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        done = _train(options) if options.command == "train" else _export(options)
    except DriftserveError as error:
        print(f"driftserve_training: {error}", file=sys.stderr)
        return 1
    if done is not None:
        print(json.dumps(done))
    return 0


def _train(options: argparse.Namespace) -> dict[str, object] | None:
    from driftserve_training.fitting import train

    chosen = {name: value for name, value in vars(options).items() if name != "command" and value is not None}
    record = train(TrainingConfiguration(**chosen))
    if record is None:  # under torchrun the first process speaks for all
        return None
    return {"test_accuracy": record.test_accuracy, "test_macro_f1": record.test_macro_f1, "seconds": record.seconds}


def _export(options: argparse.Namespace) -> dict[str, object]:
    from driftserve.certification import FULL, SHORT
    from driftserve_training.export import export

    archive, parity = export(
        options.trained,
        options.data,
        options.output,
        options.name,
        options.version,
        FULL if options.certificate == "full" else SHORT,
        options.certificate_images,
    )
    return {"archive": str(archive), "parity": asdict(parity)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m driftserve_training")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="fit, choose the best epoch, calibrate, test once")
    train.add_argument("--data", type=Path, required=True, help="folder with train/, val/, test/, each <class>/<image>")
    train.add_argument("--output", type=Path, required=True, help="folder for weights, scores and TensorBoard logs")
    train.add_argument("--model", help="any timm model; by default the one of the weights' record")
    train.add_argument("--weights", type=Path, help="a timm weights file; <file>.json beside it is its record")
    train.add_argument("--from-scratch", dest="pretrained", action="store_false", help="download no weights")
    train.add_argument("--image-size", type=_positive, help="side of the network's input in pixels")
    train.add_argument("--epochs", type=_positive)
    train.add_argument("--batch-size", type=_positive)
    train.add_argument("--learning-rate", type=float)
    train.add_argument("--loader-workers", type=int, help="processes that read images; 0: none")
    train.add_argument("--seed", type=int)

    export = commands.add_parser("export", help="write the archive of a finished training run")
    export.add_argument("--trained", type=Path, required=True, help="the --output of `train`")
    export.add_argument("--data", type=Path, required=True, help="the --data of `train`")
    export.add_argument("--output", type=Path, required=True, help="folder for model/<name>.mar and model.tar.gz")
    export.add_argument("--name", type=_name, default="scenes", help="the model's name (default: %(default)s)")
    export.add_argument("--version", type=_version, default="1", help="the model's version (default: %(default)s)")
    export.add_argument(
        "--certificate",
        choices=["short", "full"],
        default="short",
        help="extent of the drift certificate (default: %(default)s)",
    )
    export.add_argument(
        "--certificate-images", type=Path, help="folder with <class>/<image> to certify with (default: the data's val/)"
    )
    return parser


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _name(text: str) -> str:
    return _of_contract(ModelName, text)


def _version(text: str) -> str:
    return _of_contract(ModelVersion, text)


def _of_contract(kind: Any, text: str) -> str:
    """The text, if the contract takes it: known before hours of training and scoring, not after."""
    try:
        return str(TypeAdapter(kind).validate_python(text))
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{error.errors()[0]['msg']}, got {text!r}") from error


if __name__ == "__main__":
    sys.exit(main())
