"""Command `export`: write the archive of a trained network."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from driftserve.archive.contract import ModelName, ModelVersion
from driftserve.validation import first_problem
from driftserve_training.commands.command import Command
from driftserve_training.dataset.location import located
from driftserve_training.parameters import add_locations, read_locations


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trained", type=Path, required=True, metavar="RUN", help="the --output of `train`, after `evaluate`"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for model/<name>.mar, model.tar.gz, card.html and card.json",
    )
    parser.add_argument("--name", type=_name, default="scenes", help="name of the model (default: %(default)s)")
    parser.add_argument("--version", type=_version, default="1", help="version of the model (default: %(default)s)")
    parser.add_argument(
        "--certificate",
        choices=["short", "full"],
        default="short",
        help="extent of the drift certificate, which measures the drift detector. short: 3 corruptions at 2 "
        "severities, on 300 images. full: 15 corruptions at 5 severities, on all images, slow (default: %(default)s)",
    )
    parser.add_argument(
        "--certificate-images",
        type=Path,
        metavar="FOLDER",
        help="folder of images for the certificate, <class>/<image> (default: val/)",
    )
    add_locations(parser)


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve.certification.measurement import FULL, SHORT
    from driftserve_training.archiving.export import export

    with located(read_locations(options)) as data:
        archive, parity = export(
            options.trained,
            data,
            options.output,
            options.name,
            options.version,
            FULL if options.certificate == "full" else SHORT,
            options.certificate_images,
        )
    return {"archive": str(archive), "parity": asdict(parity)}


def _name(text: str) -> str:
    return _of_contract(ModelName, text)


def _version(text: str) -> str:
    return _of_contract(ModelVersion, text)


def _of_contract(kind: Any, text: str) -> str:
    """Return the text if the contract accepts it, else fail now instead of after hours of work."""
    try:
        return str(TypeAdapter(kind).validate_python(text))
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{first_problem(error).reason}, got {text!r}") from error


EXPORT = Command(
    "write the archive, the drift certificate and the model card of a trained network", _add_arguments, _run
)
