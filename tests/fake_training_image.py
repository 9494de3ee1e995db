"""A fake of the Python in the training image, for `-m driftserve_pipeline.steps ...` and `-m driftserve_training.job`.

It takes no time. Like the real programs, it uses only its folders under SAGEMAKER_BASE_DIR and fails if an input is
missing. It writes its arguments to arguments.json. FAKE_ACCURACY is the accuracy that it reports, FAKE_BEATS whether
that beats the champion.
"""

import json
import os
import sys
import tarfile
from pathlib import Path

DIGEST = "0" * 64
METADATA = {
    **dict.fromkeys(("accuracy", "mean_corruption_accuracy", "p_value"), "0.9"),
    **dict.fromkeys(("archive_sha256", "card_sha256", "manifest_sha256"), DIGEST),
    "certificate": "short",
    "champion": "none",
    "compared": "no - none is approved",
}


def fetch(base: Path) -> None:
    _write(base / "processing/output/fetched/seg_train/sea/a.jpg", "image")


def preprocess(base: Path) -> None:
    _read(base / "processing/input/fetched/seg_train/sea/a.jpg")
    _write(base / "processing/output/prepared/train/sea/a.jpg", "image")


def tune(base: Path) -> None:
    _read(base / "processing/input/data/train/sea/a.jpg")
    best = {"model": "mobilenetv2_035", "optimizer": "sgd", "learning_rate": "0.00789"}
    _write(base / "processing/output/best/best.json", json.dumps(best))


def job(base: Path) -> None:
    _read(base / "input/data/data/train/sea/a.jpg")
    print("epoch=1 val_accuracy=0.8125")
    _write(base / "model/run/trained.json", _read(base / "input/config/hyperparameters.json"))


def evaluate(base: Path) -> None:
    _read(base / "processing/input/data/train/sea/a.jpg")
    with tarfile.open(base / "processing/input/run/model.tar.gz") as run:
        run.getmember("./run/trained.json")
    accuracy, beats = float(os.environ["FAKE_ACCURACY"]), int(os.environ["FAKE_BEATS"])
    measured = {"multiclass_classification_metrics": {"accuracy": {"value": accuracy}}}
    verdict = {"accuracy": accuracy, "beats_champion": beats, "reason": "not good enough", "metadata": METADATA}
    output = base / "processing/output"
    _write(output / "evaluation/evaluation.json", json.dumps(measured))
    _write(output / "evaluation/verdict.json", json.dumps(verdict))
    _write(base / "scenes.mar", "archive")
    with tarfile.open(output / "model/model.tar.gz", "w:gz") as model:
        model.add(base / "scenes.mar", "scenes.mar")


def main(arguments: list[str]) -> None:
    assert arguments[0] == "-m"
    programs = {"driftserve_training.job": job}
    if arguments[1] == "driftserve_pipeline.steps":
        programs[arguments[1]] = {"fetch": fetch, "preprocess": preprocess, "tune": tune, "evaluate": evaluate}[
            arguments[2]
        ]
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    _write(base / "arguments.json", json.dumps(arguments[2:]))
    programs[arguments[1]](base)


def _read(path: Path) -> str:
    return path.read_text()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
