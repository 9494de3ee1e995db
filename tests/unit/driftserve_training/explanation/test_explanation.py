"""Tests of attributions, the deletion test and the command `explain`, with tiny networks."""

import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from PIL import Image
from torch import nn
from torch.nn import functional

from driftserve.archive.contract import MODEL_FILE, ImageSpec
from driftserve.errors import DataError, ModelError
from driftserve.inference.model import load_graph
from driftserve.inference.prediction import calibrate
from driftserve_demo.synthetic import write_dataset
from driftserve_training.__main__ import main
from driftserve_training.dataset.manifest import scan
from driftserve_training.explanation.agreement import check_scripted_agrees, check_served_answers, read_pixels
from driftserve_training.explanation.attribution import attribute, baseline_of
from driftserve_training.explanation.differentiable_network import DifferentiableNetwork
from driftserve_training.explanation.document import Explanations, read_explanations
from driftserve_training.explanation.explaining import explain
from driftserve_training.explanation.faithfulness import Deletion, _moved, delete, deletion_auc, rank_cells, summarise
from driftserve_training.explanation.picture import draw
from driftserve_training.explanation.randomisation import _cascade, randomise, rank_correlation
from driftserve_training.explanation.selection import select
from driftserve_training.network import graph
from driftserve_training.network.classifier import Classifier
from driftserve_training.network.graph import build_graph, save_scripted
from driftserve_training.network.trained import load_trained
from training_runs import save_run

SIDE = 48
GREY = (0.5, 0.5, 0.5)


class FakeBackbone(nn.Module):
    """A backbone with timm's two steps and given weights: the features are the input, the head is linear."""

    num_features = 3

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:  # (K, 3, H, W), (K,)
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward_features(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def forward_head(self, feature_map: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        if pre_logits:
            return feature_map.mean(dim=(2, 3))
        return torch.einsum("nchw,kchw->nk", feature_map, self.weight) + self.bias


class FakeSteepBackbone(FakeBackbone):
    """The same backbone with a steep output, which a quadrature with few points misses."""

    def forward_head(self, feature_map: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return 10 * torch.sigmoid(20 * super().forward_head(feature_map, pre_logits) - 23)


def _linear_network(weight: torch.Tensor, bias: torch.Tensor | None = None) -> DifferentiableNetwork:
    return DifferentiableNetwork(
        Classifier(FakeBackbone(weight, torch.zeros(len(weight)) if bias is None else bias), GREY, GREY)
    )


@pytest.fixture
def pixels(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 256, (2, 3, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 6, "test": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("trained"), scan(data, ("train", "test")), steps=20, image_size=SIDE)


@pytest.fixture(scope="module")
def explained(data: Path, trained: Path) -> Explanations:
    return explain(trained, data, images=4, seed=3, steps=8)


@pytest.fixture(scope="module")
def network(trained: Path) -> DifferentiableNetwork:
    return DifferentiableNetwork(load_trained(trained)[1])


@pytest.fixture(scope="module")
def test_inputs(data: Path, trained: Path, network: DifferentiableNetwork) -> torch.Tensor:
    images = [entry.path for entry in scan(data, ("test",)).split("test")]
    return network.normalise(read_pixels(data, images[::3], load_trained(trained)[0].network.image_spec))


def test_integrated_gradients_of_a_linear_network_are_weight_times_distance(pixels: np.ndarray) -> None:
    weight = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = _linear_network(weight)
    inputs = network.normalise(pixels[:1])
    colour = (torch.from_numpy(pixels[:1].mean(axis=(2, 3), keepdims=True)) / 255 - 0.5) / 0.5
    attribution = attribute(network, inputs, 2, "integrated_gradients", steps=4)
    assert np.allclose(attribution.heat_map, (weight[2] * (inputs[0] - colour[0])).sum(dim=0), atol=1e-4)
    assert attribution.completeness_error is not None
    assert attribution.completeness_error < 1e-4


def test_integrated_gradients_of_a_real_network_add_up_to_the_change_of_the_logit(
    network: DifferentiableNetwork, test_inputs: torch.Tensor
) -> None:
    for one in test_inputs[:3].split(1):
        target = int(network.logits(one).argmax())
        attribution = attribute(network, one, target, "integrated_gradients", steps=64)
        with torch.no_grad():
            change = float(network(one)[0, target] - network(baseline_of(one))[0, target])
        missed = abs(attribution.heat_map.sum() - change) / max(1.0, abs(change))
        assert missed <= 0.1
        assert attribution.completeness_error == pytest.approx(missed, abs=1e-3)


def test_the_number_of_steps_is_doubled_until_the_error_is_small(pixels: np.ndarray) -> None:
    pixels[0, :, :16] //= 2  # so that the weighted half differs from the mean colour
    network = DifferentiableNetwork(
        Classifier(FakeSteepBackbone(torch.full((2, 3, 32, 32), -0.002), torch.zeros(2)), GREY, GREY)
    )
    network.classifier.backbone.weight[:, :, 16:] = 0
    one = network.normalise(pixels[:1])
    change = float(network.logits(one)[0, 1] - network.logits(baseline_of(one))[0, 1])
    assert change > 1
    errors = []
    for steps in (2, 4, 8, 16):
        parts, difference = IntegratedGradients(network).attribute(
            one, baseline_of(one), target=1, n_steps=steps, return_convergence_delta=True
        )
        errors.append(abs(float(difference)) / change)
        if errors[-1] <= 0.1:
            break
    assert len(errors) > 1
    doubled = attribute(network, one, 1, "integrated_gradients", steps=2)
    assert np.allclose(doubled.heat_map, parts.sum(dim=1)[0], atol=1e-5)
    assert doubled.completeness_error == pytest.approx(errors[-1], abs=1e-3)


def test_grad_cam_follows_the_papers_formula_without_its_final_relu(
    network: DifferentiableNetwork, test_inputs: torch.Tensor
) -> None:
    one = test_inputs[1:2].clone().requires_grad_()
    target = int(network.logits(one.detach()).argmax())
    feature_map = network.classifier.backbone.forward_features(one)  # type: ignore[operator]
    logit = network.classifier.backbone.forward_head(feature_map)[0, target]  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(logit, feature_map)
    coarse = (gradient.mean(dim=(2, 3), keepdim=True) * feature_map).sum(dim=1, keepdim=True)
    expected = functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")[0, 0].detach().numpy()
    got = attribute(network, one.detach(), target, "grad_cam", steps=0)
    assert np.ptp(expected) > 0
    assert np.allclose(got.heat_map, expected, atol=1e-6)
    assert got.completeness_error is None


def test_occlusion_is_the_drop_of_the_logit_when_a_square_is_hidden(
    network: DifferentiableNetwork, test_inputs: torch.Tensor
) -> None:
    one, side = test_inputs[:1], SIDE // 8
    falls = np.zeros((SIDE, SIDE))
    for top in range(0, SIDE, side):
        for left in range(0, SIDE, side):
            place = (slice(top, top + side), slice(left, left + side))
            occluded = one.clone()
            occluded[(0, slice(None), *place)] = one[0].mean(dim=(1, 2))[:, None, None]
            falls[place] = network.logits(one)[0, 2] - network.logits(occluded)[0, 2]
    assert np.allclose(attribute(network, one, 2, "occlusion", steps=0).heat_map, falls, atol=1e-4)


def test_the_only_relevant_patch_is_found_and_its_deletion_changes_the_prediction(pixels: np.ndarray) -> None:
    weight = torch.zeros(2, 3, 32, 32)
    weight[1, :, 8:12, 20:24] = 0.5  # the cell in row 2, column 5
    network = _linear_network(weight, torch.tensor([0.0, -2.0]))
    pixels[0, :, 8:12, 20:24] = 200
    inputs = network.normalise(pixels[:1])
    order = rank_cells(attribute(network, inputs, 1, "integrated_gradients", steps=4).heat_map)
    assert order[0] == 2 * 8 + 5
    deleted = baseline_of(inputs)[0, :, :1, :1] * weight[1, :, 8:12, 20:24]
    logits = np.array([[0.0, 24 * (200 / 127.5 - 1) - 2], [0.0, float(deleted.sum()) - 2]], np.float32)
    before, after = calibrate(logits, 3.0)[:, 1]
    first = deletion_auc(network, inputs, 1, 3.0, order)
    last = deletion_auc(network, inputs, 1, 3.0, order[::-1].copy())
    assert before > after + 0.5
    assert first == pytest.approx((before / 2 + 15.5 * after) / 16, abs=1e-4)
    assert last == pytest.approx((15.5 * before + after / 2) / 16, abs=1e-4)


def test_noise_heat_maps_have_no_deletion_gain_and_true_ones_have(generator: np.random.Generator) -> None:
    weight = torch.from_numpy(generator.normal(0, 0.02, (4, 3, 32, 32)).astype(np.float32))
    network = _linear_network(weight)
    noise, true = [], []
    for image in generator.integers(0, 256, (30, 1, 3, 32, 32)).astype(np.uint8):
        one = network.normalise(image)
        target = int(network.logits(one).argmax())
        drawn = generator.normal(size=(32, 32)).astype(np.float32)
        noise.append(delete(network, one, drawn, target, 1.0, seed=1))
        heat_map = attribute(network, one, target, "integrated_gradients", steps=2).heat_map
        true.append(delete(network, one, heat_map, target, 1.0, seed=1))
    chance, found = summarise(noise, seed=0), summarise(true, seed=0)
    for gain in (chance.gain, chance.gain_over_moved):
        assert gain.low < 0 < gain.high
        assert gain.value == pytest.approx(0, abs=0.03)
    assert found.gain.low > 0.05
    assert found.gain_over_moved.low > 0.05
    assert found.better_than_random == 1.0


def test_a_moved_map_has_the_same_patch_at_another_place(generator: np.random.Generator) -> None:
    cells = np.zeros((8, 8))
    cells[1:3, 1:4] = 1.0
    moved = [_moved(cells, generator) for _ in range(200)]
    assert {int(each.sum()) for each in moved} == {6}
    for each in moved:
        rows, columns = each.any(axis=1), each.any(axis=0)
        assert sorted((rows.sum(), columns.sum())) == [2, 3]
        assert each[np.ix_(rows, columns)].all()
    assert len({each.tobytes() for each in moved}) > 64  # 64 places, each in two orientations


def test_the_interval_of_the_gain_uses_paired_differences(generator: np.random.Generator) -> None:
    gains = generator.normal(0.1, 0.05, 400)
    offsets = generator.uniform(0.3, 0.9, 400)  # vary between images much more than the gains
    deletions = [Deletion(o - g, o, o - 2 * g) for o, g in zip(offsets, gains, strict=True)]
    faithfulness = summarise(deletions, seed=0)
    half = 1.96 * gains.std() / 20
    assert faithfulness.gain.value == pytest.approx(gains.mean())
    assert faithfulness.gain.low == pytest.approx(gains.mean() - half, abs=half / 12)
    assert faithfulness.gain.high == pytest.approx(gains.mean() + half, abs=half / 12)
    assert faithfulness.better_than_random == pytest.approx((gains > 0).mean())
    assert faithfulness.gain_over_moved.value == pytest.approx(-gains.mean())
    assert faithfulness.better_than_moved == pytest.approx((gains < 0).mean())


def test_confident_mistakes_and_right_ones_of_every_class_are_chosen(generator: np.random.Generator) -> None:
    targets = np.repeat([0, 1, 2], 20)
    probabilities = generator.dirichlet([1, 1, 1], 60)
    predicted, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    chosen = select(probabilities, targets, 12, seed=1)
    right, wrong = list(chosen[:6]), list(chosen[6:])
    assert len(set(chosen)) == 12
    assert (predicted[right] == targets[right]).all()
    assert (predicted[wrong] != targets[wrong]).all()
    assert [sorted(targets[part].tolist()) for part in (right, wrong)] == [[0, 0, 1, 1, 2, 2]] * 2
    for label in range(3):
        of_class = sorted(sureness[(targets == label) & (predicted != label)])[-2:]
        assert sorted(sureness[[index for index in wrong if targets[index] == label]]) == of_class
    assert select(probabilities, targets, 12, seed=1) == chosen
    assert select(probabilities, targets, 12, seed=2)[:6] != chosen[:6]


@pytest.mark.parametrize(("mistakes", "chosen_mistakes"), [(0, 0), (1, 1), (10, 8)])
def test_missing_mistakes_are_replaced_by_right_predictions_and_vice_versa(mistakes: int, chosen_mistakes: int) -> None:
    targets = np.zeros(12, np.int64)
    probabilities = np.eye(2)[np.where(np.arange(12) < mistakes, 1, 0)]
    chosen = select(probabilities, targets, 10, seed=0)
    assert len(chosen) == 10
    assert sum(index < mistakes for index in chosen) == chosen_mistakes


def test_attributions_change_when_the_networks_weights_are_randomised(
    network: DifferentiableNetwork, test_inputs: torch.Tensor
) -> None:
    targets = network.logits(test_inputs[:2]).argmax(axis=1).tolist()
    stages = randomise(network, test_inputs[:2], targets, "integrated_gradients", steps=16, seed=2)
    assert [stage.layer for stage in stages][::5] == ["fc", "conv1.0"]
    assert len(stages) == 6
    assert all(abs(stage.rank_correlation) < 0.5 for stage in stages[-3:])
    assert network.logits(test_inputs[:2]).argmax(axis=1).tolist() == targets
    assert stages == randomise(network, test_inputs[:2], targets, "integrated_gradients", steps=16, seed=2)


def test_attributions_that_depend_only_on_the_image_do_not_change(generator: np.random.Generator) -> None:
    """All weights are equal, so random weights with the same mean and deviation are equal to them."""
    network = _linear_network(torch.full((2, 3, 32, 32), 0.3))
    inputs = network.normalise(generator.integers(0, 256, (2, 3, 32, 32)).astype(np.uint8))
    stages = randomise(network, inputs, [0, 1], "integrated_gradients", steps=2, seed=2)
    assert [stage.rank_correlation for stage in stages] == pytest.approx([1.0, 1.0], abs=1e-3)


def test_in_the_end_every_parameter_is_randomised(network: DifferentiableNetwork) -> None:
    randomised = [id(parameter) for _, parameters in _cascade(network.classifier.backbone) for parameter in parameters]
    assert sorted(randomised) == sorted(id(parameter) for parameter in network.classifier.backbone.parameters())


def test_the_rank_correlation_uses_ranks_and_is_zero_for_a_flat_map(generator: np.random.Generator) -> None:
    first, second = generator.normal(size=(2, 6, 7)).astype(np.float32)
    ranks = np.stack([each.ravel().argsort().argsort() for each in (first, second)])
    assert rank_correlation(first, second) == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert rank_correlation(first, np.zeros_like(first)) == 0.0


def test_the_picture_shows_the_image_and_supporting_regions_in_red(pixels: np.ndarray) -> None:
    heat_map = np.zeros((32, 32), np.float32)
    heat_map[:16], heat_map[24:] = 1.0, -1.0
    png = draw(pixels[0], heat_map)
    picture = np.asarray(Image.open(BytesIO(png))).astype(int)
    assert picture.shape == (192, 388, 3)
    exact = Image.fromarray(pixels[0].transpose(1, 2, 0)).resize((192, 192), Image.Resampling.BICUBIC)
    assert np.array_equal(picture[:, :192], exact)
    heat = picture[:, 196:]
    assert (heat[:80, :, 0] > heat[:80, :, 2] + 100).all()
    assert (heat[160:, :, 2] > heat[160:, :, 0] + 100).all()
    assert (heat[116:124].std(axis=2) < 4).all()  # no colour, except from smoothing
    assert png == draw(pixels[0], heat_map)


def test_an_empty_heat_map_is_drawn(pixels: np.ndarray) -> None:
    assert draw(pixels[0], np.zeros((32, 32), np.float32)).startswith(b"\x89PNG")


def test_the_document_describes_the_explained_images(explained: Explanations, trained: Path, data: Path) -> None:
    record, classifier = load_trained(trained)
    assert explained == read_explanations(trained)
    pixels = read_pixels(data, [one.image for one in explained.explanations], record.network.image_spec)
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(pixels.copy())).numpy()
    assert np.allclose([one.logits for one in explained.explanations], logits, atol=1e-4)
    for one, row in zip(explained.explanations, calibrate(logits, record.temperature), strict=True):
        assert one.label == Path(one.image).parent.name
        assert one.predicted == record.labels[int(row.argmax())]
        assert one.probability == pytest.approx(row.max(), abs=1e-4)
        assert one.moved_deletion_auc is not None
        assert all(0 < area < 1 for area in (one.deletion_auc, one.random_deletion_auc, one.moved_deletion_auc))
        assert (trained / "explanations" / one.picture).read_bytes().startswith(b"\x89PNG")
    kinds = {one.label == one.predicted for one in explained.explanations}
    assert kinds == {True, False}
    assert explained.parity_max_abs_diff <= 1e-4
    assert len(explained.randomisation) == 6


def test_the_same_seed_gives_the_same_files_and_replaces_earlier_ones(
    explained: Explanations, trained: Path, data: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    explain(run, data, images=3, method="grad_cam", seed=4, randomisation=False)
    assert len(list((run / "explanations").iterdir())) == 4
    explain(run, data, images=4, seed=3, steps=8)
    files = {path.name: path.read_bytes() for path in (run / "explanations").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (trained / "explanations").iterdir()}
    assert len(explained.explanations) == len(files) - 1
    assert not list(run.glob(".*"))


def test_the_agreement_check_restores_torchs_threads(pixels: np.ndarray) -> None:
    spec = ImageSpec(height=32, width=32, resize_shorter_side=32, interpolation="bilinear")
    network = _linear_network(torch.full((2, 3, 32, 32), 0.001))
    torch.set_num_threads(2)
    assert check_scripted_agrees(network, pixels, spec, 1.0).max_abs_diff <= 1e-4
    assert torch.get_num_threads() == 2


def test_a_network_that_differs_from_its_scripted_form_is_refused(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward: Callable[..., tuple[torch.Tensor, torch.Tensor]] = graph.ExportGraph.forward

    def unfaithful(self: object, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embedding = forward(self, pixels)
        return logits * 1.05, embedding

    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("explanations"))
    monkeypatch.setattr(graph.ExportGraph, "forward", unfaithful)
    with pytest.raises(ModelError, match=r"the scripted network differs .* expected probabilities within 0\.0001"):
        explain(run, data, images=4)
    assert read_explanations(run) is None


def test_the_graph_of_an_archive_is_compared_with_the_explained_network(
    explained: Explanations, trained: Path, data: Path, tmp_path: Path
) -> None:
    record, classifier = load_trained(trained)
    spec = record.network.image_spec
    save_scripted(build_graph(classifier, [np.zeros((2, 3, SIDE, SIDE), np.uint8)]), spec, tmp_path / MODEL_FILE)
    model = load_graph(tmp_path / MODEL_FILE, spec)
    assert check_served_answers(explained, data, model, spec, record.temperature) <= 1e-4

    other = shutil.copytree(data, tmp_path / "data")
    changed = other / explained.explanations[0].image
    Image.new("RGB", (96, 96), "red").save(changed)
    with pytest.raises(ModelError, match=r"expected the explained network, .* run `explain` again"):
        check_served_answers(explained, other, model, spec, record.temperature)
    changed.unlink()
    with pytest.raises(DataError, match=r"cannot read the explained image .*: No such file"):
        check_served_answers(explained, other, model, spec, record.temperature)


@pytest.mark.parametrize(
    ("model", "image_size", "found"),
    [("test_vit", 48, r"\(1, 10, 64\)"), ("test_resnet", 32, r"\(1, 96, 1, 1\)")],
    ids=["tokens", "a single cell"],
)
def test_grad_cam_without_a_feature_map_is_refused(
    data: Path, tmp_path: Path, model: str, image_size: int, found: str
) -> None:
    run = save_run(tmp_path, scan(data, ("train", "test")), model=model, image_size=image_size)
    with pytest.raises(DataError, match=rf"expected a feature map .* for grad_cam, got {found}"):
        explain(run, data, method="grad_cam")
    assert explain(run, data, images=1, steps=4, randomisation=False).randomisation == ()


def test_the_data_of_another_run_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    other = shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(other / "test" / "sea")
    with pytest.raises(DataError, match=r"expected the classes of the training run, .*sea.*, got .* in test/"):
        explain(trained, other)
    changed = shutil.copytree(data, tmp_path / "changed")
    Image.new("RGB", (96, 96), "red").save(changed / "test" / "sea" / "0000.jpg")
    with pytest.raises(DataError, match=r"training run, got changes in test/sea/0000\.jpg; give the data"):
        explain(trained, changed)


def test_the_command_explains_and_prints_where_the_result_is(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("explanations"))
    arguments = [
        "--trained",
        str(run),
        "--data",
        str(data),
        "--images",
        "4",
        "--method",
        "occlusion",
        "--no-randomisation",
    ]
    assert main(["explain", *arguments]) == 0
    done = json.loads(capsys.readouterr().out)
    document = read_explanations(run)
    assert document is not None
    assert document.faithfulness is not None
    assert document.method == "occlusion"
    assert Path(done["explanations"]).is_file()
    assert (done["images"], done["deletion_gain"]) == (4, document.faithfulness.gain.value)
    assert done["mistakes"] == sum(one.label != one.predicted for one in document.explanations)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--images", "0"], "expected a whole number from 1 to 100, got '0'"),
        (["--images", "many"], "expected a whole number from 1 to 100, got 'many'"),
        (["--method", "lime"], "invalid choice: 'lime'"),
        (["--split", "pred"], "invalid choice: 'pred'"),
        (["--steps", "1"], "expected a whole number from 2 to"),
        (["--seed", "-1"], "expected a whole number from 0 to"),
    ],
)
def test_wrong_usage_is_a_one_line_error(wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "--trained", "t", "--data", "d", *wrong])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {wrong[0]}: {message}" in line


def test_a_run_that_cannot_be_explained_is_a_one_line_error(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([str(tmp_path), str(tmp_path)], [str(trained), str(tmp_path)]):
        assert main(["explain", "--trained", arguments[0], "--data", arguments[1]]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("driftserve_training: ")


def test_a_broken_document_is_refused(tmp_path: Path) -> None:
    assert read_explanations(tmp_path) is None
    (tmp_path / "explanations").mkdir()
    (tmp_path / "explanations" / "explanations.json").write_text("{}")
    with pytest.raises(DataError, match=r"explanations\.json: cannot read the explanations: Field required"):
        read_explanations(tmp_path)
