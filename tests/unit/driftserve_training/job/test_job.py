import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from driftserve.archive.contract import ImageSpec
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.images import training_loader
from driftserve_training.dataset.manifest import Entry, Manifest
from driftserve_training.job.channels import find_channels
from driftserve_training.job.hosts import Hosts, read_hosts
from driftserve_training.job.hyperparameters import (
    NAMES,
    TRAINING_NAMES,
    Hyperparameters,
    JobParameters,
    read_hyperparameters,
)
from driftserve_training.parameters import read_winner, to_configuration
from driftserve_training.ranks import Ranks, read_ranks
from image_folders import add_companions

Write = Callable[[object], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a configuration file like SageMaker."""

    def write(content: object) -> Path:
        path = tmp_path / "given.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def _training(path: Path) -> TrainingConfiguration:
    return read_hyperparameters(path).to_training(Path("data"), Path("output"), None)


def _channels(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / "data" / name / "sea").mkdir(parents=True)
    return tmp_path / "data"


def test_hyperparameter_strings_are_converted_to_their_types(write: Write) -> None:
    given = {"model": "resnet18", "epochs": "7", "learning_rate": "1e-4", "pretrained": "false", "image_size": "64"}
    chosen = _training(write(given))
    assert (chosen.model, chosen.epochs, chosen.learning_rate) == ("resnet18", 7, 1e-4)
    assert (chosen.pretrained, chosen.image_size, chosen.batch_size) == (False, 64, 32)


def test_strings_that_the_sdk_encoded_as_json_are_read(write: Write) -> None:
    given = {"model": '"mobilenetv2_100"', "version": '"3"', "epochs": '"7"', "certificate": '"full"'}
    job, training = read_hyperparameters(write(given)).job, _training(write(given))
    assert (training.model, job.version, training.epochs, job.certificate) == ("mobilenetv2_100", "3", 7, "full")


def test_hyphens_in_names_are_accepted_but_not_both_spellings_at_once(write: Write) -> None:
    assert _training(write({"batch-size": "8"})).batch_size == 8
    with pytest.raises(DataError, match="expected batch_size once, got it as batch_size and batch-size"):
        read_hyperparameters(write({"batch-size": "8", "batch_size": "8"}))


def test_hyperparameters_that_the_platform_adds_are_ignored(write: Write) -> None:
    given = {"sagemaker_program": '"a.py"', "sagemaker_region": "x", "_tuning_objective_metric": "loss", "epochs": "2"}
    assert read_hyperparameters(write(given)) == Hyperparameters(JobParameters(), {"epochs": "2"})


@pytest.mark.parametrize("key", ["learning_rte", "sagemaker", "data", "weights", "lr\nx"])
def test_the_error_for_an_unknown_hyperparameter_lists_the_known_ones(write: Write, key: str) -> None:
    with pytest.raises(DataError) as caught:
        read_hyperparameters(write({key: "1"}))
    assert f"unknown hyperparameter {key!r}" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": "many"}, r"given\.json: epochs: Input should be a valid integer.*, got 'many'"),
        ({"epochs": "0"}, "epochs: Input should be greater than or equal to 1, got '0'"),
        ({"epochs": "2.5"}, "epochs: Input should be a valid integer"),
        ({"learning_rate": "nan"}, "learning_rate: Input should be"),
        ({"learning_rate": "0"}, "learning_rate: Input should be greater than 0"),
        ({"label_smoothing": "1"}, "label_smoothing: Input should be less than 1"),
        ({"pretrained": "perhaps"}, "pretrained: Input should be a valid boolean"),
        ({"name": "a b"}, "name: String should match pattern"),
        ({"certificate": "long"}, "certificate: Input should be 'short' or 'full', got 'long'"),
        ({"product": "runs"}, "product: Input should be 'archive' or 'run', got 'runs'"),
        ({"revision": "(none)"}, "revision: String should match pattern"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"processes_per_host": "0"}, "processes_per_host: Input should be greater than or equal to 1"),
        (["epochs"], r"given\.json: Input should be an object"),
        ("{", r"given\.json: Invalid JSON"),
    ],
)
def test_the_error_for_a_wrong_value_names_the_hyperparameter(write: Write, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_hyperparameters(write(given))


def test_without_a_file_the_defaults_of_the_command_apply(tmp_path: Path) -> None:
    chosen = read_hyperparameters(tmp_path / "none.json").to_training(tmp_path, tmp_path, None)
    assert chosen == to_configuration({"data": tmp_path, "output": tmp_path})


def test_the_folders_of_a_job_cannot_be_set_by_variables(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTSERVE_TRAINING_EPOCHS", "7")
    assert _training(write({})).epochs == 7
    monkeypatch.setenv("DRIFTSERVE_TRAINING_TEST_DATA", "elsewhere")
    with pytest.raises(DataError, match="DRIFTSERVE_TRAINING_TEST_DATA: expected folders as channels, got a variable"):
        read_hyperparameters(write({}))


def test_every_parameter_of_a_run_can_be_a_hyperparameter(tmp_path: Path) -> None:
    other: dict[str, object] = {"model": "resnet18", "pretrained": False, "image_size": 40, "label_smoothing": 0.5}
    other |= {"optimizer": "sgd", "warmup": 0.5, "augmentation": "none", "precision": "bf16-mixed", "ema_decay": 0.5}
    other |= dict.fromkeys(set(TRAINING_NAMES) - set(other), 9)
    given = Hyperparameters(JobParameters(), other).to_training(tmp_path, tmp_path / "o", tmp_path / "w")
    assert given == TrainingConfiguration(data=tmp_path, output=tmp_path / "o", weights=tmp_path / "w", **other)  # type: ignore[arg-type]


def test_every_hyperparameter_has_a_row_in_the_docs_with_its_default() -> None:
    docs = ROOT / "docs"
    page = (docs / "training.md").read_text() + (docs / "training-job.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    assert set(rows) == set(NAMES)
    winner = read_winner()
    for name in NAMES:
        field = (TrainingConfiguration.model_fields | JobParameters.model_fields)[name]
        default = winner.get(name, field.default)
        if default is not None:
            assert rows[name] == f"`{str(default).lower()}`"


def test_every_host_computes_the_same_order_of_hosts(write: Write) -> None:
    names = ["algo-2-9f24b", "algo-1-9f24b", "algo-3-9f24b"]
    commands = [
        read_hosts(write({"hosts": order, "current_host": host, "instance_groups": []})).torchrun(4, "a.module")
        for host, order in zip(sorted(names), [names, names[::-1], sorted(names)], strict=True)
    ]
    for rank, command in enumerate(commands):
        assert command[1:3] == ["-m", "torch.distributed.run"]
        assert {f"--node_rank={rank}", "--nnodes=3", "--nproc_per_node=4", "--master_addr=algo-1-9f24b"} < set(command)
        assert command[-2:] == ["-m", "a.module"]


def test_without_a_file_this_host_is_the_only_one(tmp_path: Path) -> None:
    assert read_hosts(tmp_path / "none.json") == Hosts(hosts=("localhost",), current_host="localhost")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hosts": ["algo-1"], "current_host": "algo-2"}, "expected current_host to be one of algo-1, got 'algo-2'"),
        ({"hosts": [], "current_host": "algo-2"}, r"hosts: Tuple should have at least 1 item"),
        ({"hosts": "algo-1", "current_host": "algo-1"}, "hosts: Input should be a valid"),
    ],
)
def test_invalid_hosts_are_refused(write: Write, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_hosts(write(given))


def test_processes_use_the_network_interface_of_the_platform_and_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    environment = Hosts(network_interface_name="eth7").environment(1)
    assert environment == {
        "NCCL_SOCKET_IFNAME": "eth7",
        "GLOO_SOCKET_IFNAME": "eth7",
        "OMP_NUM_THREADS": str(cores),
    }
    assert Hosts().environment(2 * cores) == {"OMP_NUM_THREADS": "1"}


def test_a_single_channel_of_any_name_is_the_image_folder(tmp_path: Path) -> None:
    folder = _channels(tmp_path, "training")
    channels = find_channels(folder, tmp_path / "none.json")
    with channels.data() as found:
        assert found == folder / "training"
    assert channels.weights is None


def test_one_channel_per_split_is_combined_into_one_folder(tmp_path: Path) -> None:
    folder = _channels(tmp_path, "train", "validation", "test", "stream")
    (folder / "validation" / "sea" / "0.jpg").touch()
    with find_channels(folder, tmp_path / "none.json").data() as found:
        assert sorted(path.name for path in found.iterdir()) == ["stream", "test", "train", "val"]
        assert [path.name for path in found.glob("val/*/*")] == ["0.jpg"]
    assert not found.exists()
    assert (folder / "validation" / "sea" / "0.jpg").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "expected one channel that holds train/, val/ and test/, .* got none"),
        (("train", "val"), "got train, val; besides these, only the channel weights"),
        (("train", "val", "validation", "test"), "got test, train, val, validation"),
        (("train", "val", "test", "extra"), "got extra, test, train, val"),
    ],
)
def test_channels_that_do_not_form_a_data_set_are_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_channels(_channels(tmp_path, *names), tmp_path / "none.json")


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ({"TrainingInputMode": "Pipe"}, "channel training: expected the input mode File or FastFile, got Pipe"),
        ({"S3DistributionType": "ShardedByS3Key"}, "channel training: expected FullyReplicated, got ShardedByS3Key"),
        ("File", r"given\.json: training: Input should be"),
    ],
)
def test_channels_that_are_not_fully_copied_to_this_host_are_refused(
    tmp_path: Path, write: Write, channel: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_channels(_channels(tmp_path, "training"), write({"training": channel}))


def test_only_channels_that_the_platform_names_are_used(tmp_path: Path, write: Write) -> None:
    folder = _channels(tmp_path, "training", "lost+found")
    with find_channels(folder, write({"training": {"TrainingInputMode": "File"}})).data() as found:
        assert found == folder / "training"
    with pytest.raises(DataError, match="expected the channels training, weights, got no weights"):
        find_channels(folder, write({"training": {}, "weights": {}}))


def test_a_weights_channel_contains_one_file_or_a_folder_of_several(tmp_path: Path) -> None:
    folder = _channels(tmp_path, "training", "weights")
    with pytest.raises(DataError, match=r"weights: expected weights files, .* got none"):
        find_channels(folder, tmp_path / "none.json")
    weights = folder / "weights" / "w.safetensors"
    weights.touch()
    weights.with_name("w.safetensors.json").touch()
    assert find_channels(folder, tmp_path / "none.json").weights == weights
    add_companions(folder)
    assert find_channels(folder, tmp_path / "none.json").weights == weights
    weights.with_name("w.bin").touch()
    assert find_channels(folder, tmp_path / "none.json").weights == folder / "weights"


def test_the_rank_is_read_from_torchruns_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_ranks() == Ranks(rank=0, processes=1, processes_per_host=1)
    for name, value in {"RANK": "5", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert read_ranks() == Ranks()  # without TORCHELASTIC_RUN_ID: set by another launcher
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    ranks = read_ranks()
    assert (ranks.rank, ranks.processes, ranks.hosts, ranks.is_first) == (5, 6, 3, False)


def test_processes_get_equal_shares_of_an_epoch_and_each_epoch_has_another_order(tmp_path: Path) -> None:
    entries = []
    for number in range(9):  # the brightness of an image encodes its number
        Image.new("RGB", (8, 8), (number * 20,) * 3).save(tmp_path / f"{number}.png")
        entries.append(Entry(f"{number}.png", "train", "sea" if number % 2 else "ice", str(number)))
    manifest = Manifest(tmp_path, tuple(entries))
    spec = ImageSpec(height=8, width=8, resize_shorter_side=8, interpolation="bilinear")
    loaders = [training_loader(manifest, spec, "light", 6, 0, 1, Ranks(rank, 2, 2)) for rank in (0, 1)]
    orders = []
    for epoch in range(2):
        shares = []
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            shares.append([draw.index for draw in loader.sampler])
            assert sum(len(targets) for _, targets in loader) == 5  # no image of the incomplete batch is dropped
        assert set(np.concatenate(shares)) == set(range(9))
        orders.append(shares)
    assert orders[0] != orders[1]
