"""Step Evaluate: test the trained network, archive it, and compare it with the registered champion."""

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path

from driftserve.archive.tarball import unpack_tarball
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.metadata import metadata_value
from driftserve_pipeline.steps.aws import client
from driftserve_pipeline.steps.champion import Champion, download_champion
from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.evidence import Certificate, Evaluation, Trained, read_evidence
from driftserve_pipeline.steps.step import Folders, Step
from driftserve_pipeline.steps.verdict import judge, write_verdict

_TRAINING = "driftserve_training"
_PACKED = "model.tar.gz"
_RUN_FOLDER = "run"  # made by a training job with `product` = `run`
_MOST_RUN_BYTES, _MOST_RUN_FILES = 20 * 2**30, 10_000
_EVIDENCE = (  # files of the run that are kept in the output
    *("evaluation.json", "predictions-test.csv", "label_issues-test.csv", "card.html", "card.json"),
    *("certificate.json", "trained.json", "configuration.json", "history.csv", "manifest.csv"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--group", required=True, help="model package group of the champion, the newest approved version"
    )
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", required=True, help="version of the model")
    parser.add_argument("--threshold", type=float, required=True, help="lowest accuracy that is registered")
    parser.add_argument(
        "--robustness-images",
        default="240",
        metavar="N",
        help="test images to measure the accuracy under corruption; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--explained-images",
        type=int,
        default=12,
        metavar="N",
        help="test images whose predictions are explained; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--certificate",
        choices=["short", "full"],
        default="short",
        help="extent of the drift certificate (default: %(default)s)",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    evaluation, model = folders.fresh_output("evaluation"), folders.fresh_output("model")
    with tempfile.TemporaryDirectory() as scratch:
        run = _run_folder(folders.input(_RUN_FOLDER) / _PACKED, Path(scratch, "trained"))
        champion = download_champion(client("sagemaker"), client("s3"), options.group, Path(scratch, "champion"))
        rival = champion if champion and champion.is_comparable(_trained(run).labels) else None
        _gather(options, run, folders.input("data"), rival)
        archive = _export(options, run, folders.input("data"), Path(scratch, "exported"))
        verdict = judge(
            read_evidence(run / "evaluation.json", Evaluation),
            options.threshold,
            champion.arn if champion else None,
            rival is not None,
            _metadata(run, archive),
        )
        _leave_evidence(run, evaluation)
        shutil.copyfile(archive.parents[1] / _PACKED, model / _PACKED)
        write_verdict(verdict, evaluation)
    return verdict.model_dump_json()


def _run_folder(packed: Path, folder: Path) -> Path:
    run = unpack_tarball(packed, folder, _MOST_RUN_BYTES, _MOST_RUN_FILES) / _RUN_FOLDER
    if not run.is_dir():
        raise PipelineError(f"{packed}: expected the folder {_RUN_FOLDER}/, got none; train with product={_RUN_FOLDER}")
    return run


def _trained(run: Path) -> Trained:
    return read_evidence(run / "trained.json", Trained)


def _gather(options: argparse.Namespace, run: Path, data: Path, champion: Champion | None) -> None:
    """Run the training package's `evaluate` and `explain`."""
    places = ("--trained", str(run), "--data", str(data))
    against = ("--champion", str(champion.archive)) if champion else ()
    run_command(_TRAINING, "evaluate", *places, "--robustness-images", options.robustness_images, *against)
    if options.explained_images > 0:
        run_command(_TRAINING, "explain", *places, "--images", str(options.explained_images))


def _export(options: argparse.Namespace, run: Path, data: Path, output: Path) -> Path:
    """Export the archive and return its path. Its `model.tar.gz` is in the output folder."""
    named = ("--name", options.name, "--version", options.version, "--certificate", options.certificate)
    run_command(_TRAINING, "export", "--trained", str(run), "--data", str(data), "--output", str(output), *named)
    return output / "model" / f"{options.name}.mar"


def _metadata(run: Path, archive: Path) -> dict[str, str]:
    """Verify the archive as the service does; return facts on its origin, for the registry."""
    _, digest = run_command("driftserve", "verify", str(archive)).split()
    return {
        "archive_sha256": digest,
        "card_sha256": hashlib.sha256((run / "card.json").read_bytes()).hexdigest(),
        "manifest_sha256": _trained(run).manifest_sha256,
        "certificate": metadata_value(str(read_evidence(run / "certificate.json", Certificate))),
    }


def _leave_evidence(run: Path, folder: Path) -> None:
    for name in _EVIDENCE:
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    if (run / "explanations").is_dir():
        shutil.copytree(run / "explanations", folder / "explanations")


EVALUATE = Step("test the trained model, archive it, and compare it with the champion", _add_arguments, _run)
