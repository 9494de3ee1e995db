import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from driftserve.archive.contract import ImageSpec
from driftserve.errors import DataError
from driftserve_demo.synthetic import write_dataset
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import ImageDataset, evaluation_loader
from driftserve_training.dataset.manifest import scan
from driftserve_training.evaluation.scores import score
from driftserve_training.fitting.optimization import check_optimizer, create_optimizer, rate_share
from driftserve_training.fitting.pictures import confusion_figure, mistakes_figure
from driftserve_training.fitting.resumption import begin, find_checkpoint, identify
from driftserve_training.fitting.training import train
from driftserve_training.network.classifier import Classifier, create_classifier
from driftserve_training.network.exportable import check_exportable
from driftserve_training.network.trainable import images_in_batch
from driftserve_training.network.trained import load_trained
from driftserve_training.search.space import Space
from driftserve_training.search.trial import check_networks

SPEC = ImageSpec(height=32, width=32, resize_shorter_side=32, interpolation="bilinear")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 8, "val": 3, "test": 2}, seed=5)
    return folder


def _configuration(data: Path, output: Path, **chosen: object) -> TrainingConfiguration:
    small = {"model": "test_resnet", "pretrained": False, "image_size": 32, "epochs": 1}
    small["batch_size"] = 7  # 48 images: six batches of odd size and a last one of even size
    small["label_smoothing"] = 0.0  # smoothing would hide the effect of mixing
    return TrainingConfiguration(data=data, output=output, **(small | chosen))  # type: ignore[arg-type]


STALE = (
    "evaluation.json",
    "predictions-test.csv",
    "label_issues-test.csv",
    "certificate.json",
    "card.html",
    "explanations/a.png",
)
EARLY = {"epochs": 40, "learning_rate": 5.0, "warmup": 0.0, "optimizer": "sgd", "patience": 2}


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch in a folder with results of another run. Tests do not change it."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "explanations").mkdir()
    for name in (*STALE, "configuration.json", "notes.txt"):
        (folder / name).touch()
    train(_configuration(data, folder))
    return folder


@pytest.fixture(scope="module")
def early(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped early, in `run`, with its checkpoints in `checkpoints`."""
    folder = tmp_path_factory.mktemp("early")
    train(_configuration(data, folder / "run", **EARLY), folder / "checkpoints")
    return folder


def test_the_learning_rate_warms_up_and_then_follows_half_a_cosine() -> None:
    shares = [rate_share(step, 100, 0.1) for step in range(101)]
    assert shares[:10] == pytest.approx([step / 11 for step in range(1, 11)])
    assert shares[10:] == pytest.approx([(1 + np.cos(np.pi * step / 90)) / 2 for step in range(91)])
    assert rate_share(0, 100, 0.0) == 1.0


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "lion", "lookahead_adam"])
def test_timms_optimizers_support_a_separate_rate_for_the_features(name: str) -> None:
    head, features = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = create_optimizer(name, [{"params": [head]}, {"params": [features], "lr": 0.01}], 0.1, 0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    (head.sum() + features.sum()).backward()
    optimizer.step()
    assert (1 - head).sum() > (1 - features).sum() > 0


def test_the_error_for_an_unknown_optimizer_suggests_similar_names() -> None:
    with pytest.raises(DataError, match=r"expected one of timm's optimizers, got 'adamx'; similar names: .*adamw"):
        check_optimizer("adamx")


def test_an_exception_of_the_epoch_callback_ends_the_run(data: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    seen: list[tuple[int, float]] = []

    def on_epoch(epoch: int, accuracy: float) -> None:
        seen.append((epoch, accuracy))
        if epoch == 2:
            raise Enough

    with pytest.raises(Enough):
        train(_configuration(data, tmp_path, epochs=9), on_epoch=on_epoch)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert all(0 <= accuracy <= 1 for _, accuracy in seen)
    assert not (tmp_path / "trained.json").exists()


def test_training_stops_early_if_the_loss_does_not_improve(early: Path) -> None:
    losses = [float(line.split(",")[2]) for line in (early / "run/history.csv").read_text().splitlines()[1:]]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 3


def test_a_new_run_removes_the_results_of_the_previous_one(plain: Path) -> None:
    assert not any((plain / name).exists() for name in STALE)
    assert (plain / "notes.txt").exists()


@pytest.mark.parametrize("name", ["card.pdf", "tensorboard/mine", "checkpoints/mine.ckpt"])
def test_a_run_keeps_the_files_of_somebody_else_and_says_so(data: Path, tmp_path: Path, name: str) -> None:
    kept = tmp_path / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(DataError, match=f"{tmp_path / name.split('/')[0]}: expected an? .*folder"):
        train(_configuration(data, tmp_path))
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("chosen", [{"mixup": 0.2}, {"cutmix": 1.0}], ids=["mixup", "cutmix"])
def test_mixing_changes_the_training(data: Path, plain: Path, tmp_path: Path, chosen: dict[str, float]) -> None:
    train(_configuration(data, tmp_path, **chosen))
    assert (plain / "history.csv").read_text() != (tmp_path / "history.csv").read_text()


def test_the_record_has_the_versions_of_the_libraries(plain: Path) -> None:
    libraries = load_trained(plain)[0].libraries
    assert libraries["torch"] == version("torch")
    assert {"albumentations", "opencv-python-headless", "timm"} < set(libraries)


def test_the_averaged_weights_are_saved(data: Path, plain: Path, tmp_path: Path) -> None:
    train(_configuration(data, tmp_path, ema_decay=0.999))
    torch.manual_seed(0)  # the seed of the runs
    start, _ = create_classifier(_configuration(data, tmp_path), 6)
    expected = [parameter.detach() for parameter in start.head_parameters()]
    moved = []
    for folder in (plain, tmp_path):
        weights = load_trained(folder)[1].head_parameters()
        moved.append(max(float((new.detach() - old).abs().max()) for new, old in zip(weights, expected, strict=True)))
    assert 0 < moved[1] < 0.3 * moved[0]  # the average starts with the first step


def test_tensorboard_has_everything_that_the_docs_promise(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    checkpoints = tmp_path / "elsewhere"
    record = train(_configuration(data, tmp_path / "run", epochs=2, augmentation="realistic"), checkpoints)
    assert record is not None
    assert {path.suffix for path in checkpoints.iterdir()} == {".ckpt", ".json"}
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    scores = {f"val_{name}/{label}" for name in ("f1", "precision", "recall") for label in record.labels}
    assert set(tags["scalars"]) >= scores | {"val_macro_f1", "val_macro_precision", "val_macro_recall"}
    assert set(tags["scalars"]) >= {"train_loss_step", "train_loss_epoch", "val_loss", "val_accuracy"}
    assert any(tag.startswith("lr-") for tag in tags["scalars"])
    assert set(tags["images"]) >= {"augmented", "val_confusion", "val_mistakes"}
    assert "_hparams_/session_start_info" in json.dumps(board.summary_metadata, default=str)
    assert json.loads((tmp_path / "run" / "configuration.json").read_text())["augmentation"] == "realistic"


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    folder, ours = tmp_path / "checkpoints", {"seed": 0, "manifest_sha256": "m"}
    assert find_checkpoint(folder, ours) is None
    begin(folder, ours)
    assert find_checkpoint(folder, ours) is None
    torch.save({}, folder / "last.ckpt")
    assert find_checkpoint(folder, ours) == folder / "last.ckpt"
    with pytest.raises(
        DataError, match=r"expected the parameters of the run in this folder, seed 0, got 5; give the same, or"
    ):
        find_checkpoint(folder, ours | {"seed": 5})
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:-50])
    with pytest.raises(DataError, match=r"last\.ckpt: cannot load the checkpoint: .*; remove the folder"):
        find_checkpoint(folder, ours)


def test_a_run_that_resumes_with_another_version_of_a_library_reports_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    begin(folder, {})
    torch.save({}, folder / "last.ckpt")
    find_checkpoint(folder, {})
    assert not caplog.records
    record = json.loads((folder / "run.json").read_text())
    record["libraries"]["opencv-python-headless"] = "4.12.0.88"
    (folder / "run.json").write_text(json.dumps(record))
    find_checkpoint(folder, {})
    (line,) = caplog.messages
    assert "the run began with opencv-python-headless 4.12.0.88 (now " in line


def test_the_identity_of_a_run_depends_on_file_contents_not_on_paths(tmp_path: Path) -> None:
    record = create_classifier(_configuration(tmp_path, tmp_path), 6)[1]
    for name, text in (("a.json", "1"), ("same.json", "1"), ("other.json", "2")):
        (tmp_path / name).write_text(text)
    given = _configuration(tmp_path, tmp_path, augmentation=str(tmp_path / "a.json"))
    ours = identify(given, record, "m", 1)
    moved = {"data": Path("x"), "output": Path("y"), "loader_workers": 3, "augmentation": str(tmp_path / "same.json")}
    assert identify(given.model_copy(update=moved), record, "m", 1) == ours
    assert identify(given.model_copy(update={"augmentation": str(tmp_path / "other.json")}), record, "m", 1) != ours
    assert identify(given, record, "m", 2) != ours
    assert identify(given, record, "n", 1) != ours


def test_a_finished_run_is_returned_and_not_overwritten(data: Path, plain: Path) -> None:
    written = (plain / "network.pt").stat().st_mtime_ns
    assert train(_configuration(data, plain)) == load_trained(plain)[0]
    with pytest.raises(DataError, match="epochs 1, got 2"):
        train(_configuration(data, plain, epochs=2))
    with pytest.raises(DataError, match="augmentation: expected none"):
        train(_configuration(data, plain, augmentation="realstic"))
    assert (plain / "network.pt").stat().st_mtime_ns == written


class _Cut(Exception):
    """Ends a run like kill -9, but keeps the process."""


def test_a_run_resumes_after_a_worse_epoch_in_a_moved_folder_and_keeps_the_best(
    data: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """The rate is so high that later epochs are worse. The checkpoints are moved before the run resumes."""
    chosen = {"epochs": 4, "learning_rate": 3.0, "warmup": 0.0, "optimizer": "sgd", "seed": 1}
    whole: list[float] = []
    expected = train(
        _configuration(data, tmp_path / "whole", **chosen), on_epoch=lambda _, accuracy: whole.append(accuracy)
    )
    assert expected is not None
    cut_at = next(epoch for epoch in range(2, 4) if whole[epoch - 1] <= max(whole[: epoch - 1]))

    def cut(epoch: int, _: float) -> None:
        if epoch == cut_at + 1:
            raise _Cut

    with pytest.raises(_Cut):
        train(_configuration(data, tmp_path / "cut", **chosen), tmp_path / "here", cut)
    (tmp_path / "here").rename(tmp_path / "there")
    seen: list[int] = []
    record = train(
        _configuration(data, tmp_path / "resumed", **chosen), tmp_path / "there", lambda epoch, _: seen.append(epoch)
    )
    assert record is not None
    assert seen == list(range(cut_at + 1, 5))
    assert (record.best_epoch, record.val_accuracy) == (expected.best_epoch, expected.val_accuracy)
    assert (tmp_path / "resumed/history.csv").read_text() == (tmp_path / "whole/history.csv").read_text()
    assert not [warning for warning in recwarn if "is not empty" in str(warning.message)]


def test_a_run_that_stopped_early_does_not_resume(data: Path, early: Path, tmp_path: Path) -> None:
    checkpoints = shutil.copytree(early / "checkpoints", tmp_path / "checkpoints")
    seen: list[int] = []
    record = train(_configuration(data, tmp_path / "second", **EARLY), checkpoints, lambda epoch, _: seen.append(epoch))
    assert record is not None
    assert seen == []
    assert record.epochs == len((early / "run/history.csv").read_text().splitlines()) - 1


def test_16_bit_precision_without_a_gpu_is_refused(data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DataError, match="precision: expected 32-true or bf16-mixed on a CPU, got 16-mixed"):
        train(_configuration(data, tmp_path, precision="16-mixed"))


def test_the_most_confident_mistakes_are_drawn_first(data: Path) -> None:
    manifest = scan(data)
    images = ImageDataset(manifest, "val", SPEC)
    targets = np.array([images[index][1] for index in range(len(images))])
    probabilities = np.full((len(images), 6), 0.02)
    probabilities[np.arange(len(images)), targets] = 0.9
    assert mistakes_figure(images, probabilities, targets, manifest.labels) is None
    for index, sure in ((3, 0.6), (7, 0.8)):
        probabilities[index] = 0.04
        probabilities[index, (targets[index] + 1) % 6] = sure
    figure = mistakes_figure(images, probabilities, targets, manifest.labels)
    assert figure is not None
    titles = [place.get_title() for place in figure.axes if place.get_title()]
    assert [title.split()[1] for title in titles] == ["0.80", "0.60"]
    assert titles[0].endswith(f"is {manifest.labels[targets[7]]}")


def test_the_confusion_matrix_is_drawn() -> None:
    figure = confusion_figure(torch.tensor([[1, 0], [1, 7]]), ("sea", "forest"))
    assert {text.get_text() for text in figure.axes[0].texts} >= {"1", "0", "7"}


def test_the_confusion_matrix_of_many_classes_has_few_texts() -> None:
    labels = [f"class {number}" for number in range(1000)]
    (axes,) = confusion_figure(torch.eye(1000, dtype=torch.long), labels).axes
    assert not axes.texts
    assert 20 <= len(axes.get_xticklabels()) <= 30


class _Branching(torch.nn.Module):
    """A network with a branch on its input. A trace keeps only one of the two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x if len(x) == 1 else 5 * x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_network_that_cannot_be_traced_is_refused_before_training() -> None:
    classifier = Classifier(_Branching(), (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(DataError, match="expected a graph of branching with the network's logits, got a diff"):
        check_exportable(classifier, SPEC, "branching")
    assert classifier.training


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_training_that_diverges_is_an_error_with_its_epoch_and_learning_rate(
    data: Path, tmp_path: Path, precision: str
) -> None:
    configuration = _configuration(
        data, tmp_path, optimizer="sgd", learning_rate=1e30, warmup=0.0, epochs=3, precision=precision
    )
    with pytest.raises(DataError, match=r"^epoch 1: .* finite .*: lower --learning-rate, which is 1e\+30$"):
        train(configuration)
    assert not (tmp_path / "trained.json").exists()
    assert not list(tmp_path.glob("checkpoints/*.ckpt"))


def test_a_batch_of_one_image_is_refused_if_the_network_normalises_over_it(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^cannot train test_resnet with one image in a batch: .* larger --batch-size"):
        train(_configuration(data, tmp_path, batch_size=1))
    assert not (tmp_path / "history.csv").exists()


def test_a_network_that_gives_no_finite_logits_has_no_scores(plain: Path, data: Path) -> None:
    record, classifier = load_trained(plain)
    with torch.no_grad():
        next(classifier.head_parameters())[0] = torch.nan
    loader = evaluation_loader(scan(data, ("val",)), "val", record.network.image_spec, 7, 0)
    with pytest.raises(DataError, match=r"^val: expected finite logits, .* 18 of 18 images; "):
        score(classifier, loader, "val")


def test_a_run_whose_weights_are_not_finite_is_neither_loaded_nor_resumed(
    plain: Path, data: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(plain, tmp_path / "run")
    weights = torch.load(run / "network.pt", weights_only=True)
    weights[next(name for name in weights if name.endswith("weight"))][0] = torch.nan
    torch.save(weights, run / "network.pt")  # driftserve 0.1 saved the network of a training that had diverged
    message = r"network\.pt: expected finite weights, .* in .*weight; train again, with a lower --learning-rate"
    with pytest.raises(DataError, match=message):
        load_trained(run)
    with pytest.raises(DataError, match=message):
        train(_configuration(data, run))


@pytest.mark.parametrize(("processes", "images"), [(1, 7), (7, 7), (8, 6), (47, 2), (48, 1)])
def test_a_batch_has_at_most_the_share_of_a_process(processes: int, images: int) -> None:
    assert images_in_batch(7, 48, processes) == images


def test_a_search_refuses_a_batch_of_one_before_its_first_trial(tmp_path: Path) -> None:
    space = Space(("test_resnet",), ("sgd",), (0.01,))
    with pytest.raises(DataError, match=r"^cannot train test_resnet with one image in a batch: "):
        check_networks(_configuration(tmp_path, tmp_path, batch_size=1), space, 3)
