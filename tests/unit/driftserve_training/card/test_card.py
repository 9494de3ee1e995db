import hashlib
import json
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from driftserve.archive.certificate import Certificate, FalseAlarms, Power
from driftserve.errors import DataError
from driftserve_training.__main__ import main
from driftserve_training.card.card import ModelCard, gather
from driftserve_training.card.files import CardFiles, render
from driftserve_training.card.page import to_page
from driftserve_training.card.plots import draw_confusion, draw_curves, draw_heat_map, draw_reliability
from driftserve_training.evaluation.document import Attack, Comparison, Interval, Slice
from driftserve_training.network.trained import load_trained
from training_evidence import LABELS, robustness, write_evaluation, write_explanations, write_history, write_run

CERTIFICATE = Certificate(
    kind="short",
    source="60 images of val/",
    images=24,
    reference_images=30,
    draws=5,
    seed=7,
    false_alarms=(FalseAlarms(size=200, budget=0.0005, windows=100, rate=0.00012, upper_bound=0.00034, worst=0.0007),),
    power=(
        Power(corruption="fog", severity=3, power=0.975, long_power=None, accuracy=0.415, estimated_accuracy=0.425),
        Power(
            corruption="jpeg_compression", severity=1, power=None, long_power=None, accuracy=0.7, estimated_accuracy=0.7
        ),
    ),
)
COMPARISON = Comparison(
    champion="older",
    images=30,
    champion_accuracy=0.715,
    challenger_accuracy=0.8,
    difference=Interval(0.085, 0.012, 0.155),
    challenger_alone_right=4,
    champion_alone_right=1,
    p_value=0.375,
)
SLICE = Slice("brightness", "low", 0.1, 0.25, 11, Interval(0.64, 0.54, 0.74))
ATTACK = Attack("fgsm", 2, 12, Interval(0.31, 0.21, 0.41))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with the minimum that a card needs."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all optional results. Tests only read it."""
    run = tmp_path_factory.mktemp("full") / "run"
    run.mkdir()
    write_run(run)
    write_history(run)
    write_evaluation(run, robustness=robustness(0.55), comparison=COMPARISON, slices=(SLICE,), attacks=(ATTACK,))
    write_explanations(run)
    (run / "certificate.json").write_text(CERTIFICATE.model_dump_json())
    (run / "configuration.json").write_text(json.dumps({"optimizer": "lion", "augmentation": "/home/me/my.json"}))
    return run


@pytest.fixture(scope="module")
def card(full: Path) -> ModelCard:
    return gather(full)


@pytest.fixture(scope="module")
def files(card: ModelCard) -> CardFiles:
    return render(card)


@pytest.fixture(scope="module")
def page(files: CardFiles) -> "Page":
    return _parse(files)


class Page(HTMLParser):
    """The HTML elements and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " if tag in ("th", "td") else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _parse(files: CardFiles) -> Page:
    page = Page(files.page.decode())
    assert page.open == []
    page.text = " ".join(page.text.split())
    return page


def test_another_process_gives_the_same_card_and_json_byte_for_byte(
    full: Path, files: CardFiles, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "driftserve_training", "report", "--trained", str(full), "--output"]
    done = subprocess.run([*command, str(tmp_path / "again.html")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.html").read_bytes() == files.page
    assert (tmp_path / "again.json").read_bytes() == files.document
    said = json.loads(done.stdout)
    assert said["card"] == str(tmp_path / "again.html")
    assert said["card_sha256"] == hashlib.sha256(files.document).hexdigest()
    assert said["card_sha256"] in files.page.decode()


def test_a_card_is_written_into_the_runs_folder(run: Path) -> None:
    assert main(["report", "--trained", str(run)]) == 0
    files = render(gather(run))
    assert (run / "card.html").read_bytes() == files.page
    assert (run / "card.json").read_bytes() == files.document


def test_the_page_loads_no_resource_and_contains_no_local_path(full: Path, files: CardFiles, page: Page) -> None:
    text = files.page.decode()
    assert all(str(image["src"]).startswith("data:image/") for image in page.all("img"))
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "base", "form", "svg"})
    assert "url(" not in text
    assert "@import" not in text
    assert not any(name in attributes for _, attributes in page.elements for name in ("href", "srcset", "onload"))
    assert str(full.parent) not in text
    assert "/home/me" not in text
    assert "my.json" in text


def test_every_picture_has_a_description_and_every_table_has_headers(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 2 + 2 + 1 + 1 + 2  # curves, confusion and reliability, robustness, power, explanations
    assert all(len(str(image["alt"])) > 20 for image in images)
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_the_page_shows_what_was_measured(page: Page) -> None:
    for fact in (
        *LABELS,
        "0.800 (0.700 to 0.900)",  # scores
        "no weights",  # initial weights
        "lion",  # a parameter
        "0.021",  # calibration
        "0.550 (0.500 to 0.600)",  # corrupted images
        "brightness low 0.1 0.25 11 0.640 (0.540 to 0.740)",  # a slice
        "FGSM 2 12 0.310 (0.210 to 0.410)",  # an attack
        "0.085 (0.012 to 0.155)",  # against the champion
        "0.375",
        "Deletion AUC 0.250, random 0.500",
        "0.115 (0.015 to 0.215); it is smaller on 75 % of the images",  # faithfulness
        "60 images of val/",  # the certificate
        "0.00012",
        "0.975",
        "fog",
    ):
        assert fact in page.text, fact
    assert "This card does not show" not in page.text


def test_the_page_lists_what_was_not_measured(run: Path) -> None:
    files = render(gather(run))
    page = _parse(files)
    assert len(page.all("img")) == 2
    stated = re.findall(r"\(run (train|explain|export|evaluate [^)]*)\)", page.text)
    assert stated == [
        "evaluate --robustness-images N",
        "evaluate --adversary-images N",
        "evaluate --champion RUN",
        "explain",
        "export",
        "train",
        "train",
    ]
    document = json.loads(files.document)
    assert [document[name] for name in ("explanations", "certificate", "choices", "history")] == [None, None, None, []]
    assert document["evaluation"]["robustness"] is None


def test_the_page_names_measurements_that_had_too_few_images(card: ModelCard, page: Page) -> None:
    assert "Not measured: false alarms of long windows" in page.text
    bare = CERTIFICATE.model_copy(update={"false_alarms": (), "power": ()})
    text = _parse(render(replace(card, certificate=bare))).text
    assert "Not measured: false alarms of windows and long windows" in text
    assert "Not measured: whether the detector sees corrupted images." in text
    few = CERTIFICATE.model_copy(update={"power": CERTIFICATE.power[1:]})
    text = _parse(render(replace(card, certificate=few))).text
    assert "Not measured: whether the detector sees corrupted images. 24 images are too few for a window." in text
    assert "jpeg compression" in text


def test_the_json_contains_the_content_of_the_page(full: Path, files: CardFiles) -> None:
    document = json.loads(files.document)
    record, classifier = load_trained(full)
    assert document["trained"]["manifest_sha256"] == record.manifest_sha256
    assert document["parameters"] == sum(parameter.numel() for parameter in classifier.parameters())
    assert document["images"][0] == {"split": "train", "images": [3, 3, 3]}
    assert [split["split"] for split in document["images"]] == ["train", "val", "test"]
    assert document["history"][1]["val_accuracy"] == 0.75
    assert document["evaluation"]["comparison"]["p_value"] == 0.375
    assert document["certificate"] == CERTIFICATE.model_dump(mode="json")
    assert document["choices"] == {"optimizer": "lion", "augmentation": "my.json"}
    pictures = {path.name: path.read_bytes() for path in (full / "explanations").glob("*.png")}
    assert document["pictures"] == [
        {"file": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in sorted(pictures.items())
    ]


def test_the_pictures_are_embedded_unchanged(full: Path, page: Page) -> None:
    sources = [str(image["src"]) for image in page.all("img")]
    shown = [b64decode(source.split(",")[1]) for source in sources if source.startswith("data:image/png")]
    assert shown == [path.read_bytes() for path in sorted((full / "explanations").glob("*.png"))]


def test_a_label_cannot_add_markup_to_the_page(run: Path) -> None:
    hostile = '<img src="https://elsewhere">'
    card = gather(run)
    labels = (hostile, *LABELS[1:])
    scores = replace(card.evaluation.classes[0], label=hostile)
    evaluation = replace(card.evaluation, labels=labels, classes=(scores, *card.evaluation.classes[1:]))
    page = _parse(render(replace(card, trained=replace(card.trained, labels=labels), evaluation=evaluation)))
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert hostile in page.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "resnet18"}, "expected the network test_resnet, got resnet18; run `evaluate` again"),
        ({"temperature": 1.5}, r"expected the temperature 1\.25, got 1\.5; run `evaluate` again"),
        (
            {"images_sha256": "0" * 64},
            r"evaluation\.json: expected the test images of the run, got other images; run `evaluate`",
        ),
        ({"labels": ("a", "b", "c")}, "expected the labels .*, got "),
    ],
)
def test_an_evaluation_of_another_network_or_other_images_is_refused(
    run: Path, change: dict[str, object], message: str
) -> None:
    write_evaluation(run, **change)
    with pytest.raises(DataError, match=message):
        gather(run)


def test_an_evaluation_on_validation_images_is_refused(run: Path) -> None:
    write_evaluation(run, split="val")
    (run / "evaluation-val.json").replace(run / "evaluation.json")
    with pytest.raises(DataError, match="expected the split test, got val"):
        gather(run)


def test_a_manifest_of_other_images_is_refused(run: Path) -> None:
    manifest = run / "manifest.csv"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"of the training run, got .*; train again"):
        gather(run)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "evaluation.json",
            None,
            "evaluation.json: cannot read the evaluation: No such file or directory; run `evaluate` first",
        ),
        (
            "evaluation.json",
            '{"driftserve": {}}',
            "evaluation.json: multiclass_classification_metrics: Field required; run `evaluate` again",
        ),
        ("trained.json", None, "expected a finished training run"),
        ("manifest.csv", "path,split\n", "expected the manifest"),
        ("history.csv", "epoch,train_loss\n1,x\n", "history.csv: expected numbers for each epoch: 0.train_loss"),
        ("certificate.json", "{", "certificate.json: : Invalid JSON"),
        ("configuration.json", '{"a": [1]}', "configuration.json: a."),
        ("explanations/0.png", None, "cannot read the picture of an explanation: No such file"),
    ],
)
def test_an_invalid_file_of_the_run_is_a_one_line_error(
    full: Path, file: str, content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(shutil.copytree(full, tmp_path / "broken"))
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(content)
    assert main(["report", "--trained", str(broken)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (broken / "card.html").exists()


def test_an_output_name_that_is_not_html_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", "--trained", "t", "--output", "card.json"])
    assert ended.value.code == 2
    assert "expected a name that ends in .html, got 'card.json'" in capsys.readouterr().err


def _drawn(svg: bytes) -> list[ElementTree.Element]:
    """Return the paths of an SVG; assert that it contains no date and no text that would need a font."""
    assert b"<dc:date>" not in svg
    root = ElementTree.fromstring(svg)  # noqa: S314
    assert not root.findall(".//{http://www.w3.org/2000/svg}text")
    return root.findall(".//{http://www.w3.org/2000/svg}path")


def test_higher_values_in_a_heat_map_are_darker_and_missing_ones_are_empty() -> None:
    values = np.array([[0.0, 1.0], [0.5, np.nan]])
    fills = [
        style for path in _drawn(draw_heat_map(["a", "b"], ["1", "2"], values, "x")) if (style := path.get("style"))
    ]
    colours = [match[1] for style in fills if (match := re.search(r"fill: (#[0-9a-f]{6}); stroke: #ffffff", style))]
    lightness = [sum(bytes.fromhex(colour[1:])) for colour in colours]
    assert len(colours) == 3
    assert lightness[0] > lightness[2] > lightness[1]


@pytest.mark.parametrize("rows", [2, 40])
def test_plots_work_for_any_number_of_classes_and_epochs_and_are_deterministic(rows: int) -> None:
    labels = [f"class {number}" for number in range(rows)]
    drawings = [
        (draw_confusion, (labels, np.eye(rows))),
        (draw_curves, ([0.5] * rows, [0.4] * rows, ("a", "b"), 1)),
        (draw_curves, ([0.5], [float("nan")], ("a", "b"), 1)),
        (draw_reliability, ([0.5] * rows, [0.4] * rows, [0] * rows)),
    ]
    for draw, values in drawings:
        svg = draw(*values)  # type: ignore[operator]
        assert _drawn(svg)
        assert draw(*values) == svg  # type: ignore[operator]


def test_the_plot_of_many_classes_does_not_draw_each_cell_or_label() -> None:
    labels = [f"class {number}" for number in range(1000)]
    few, many = (_drawn(draw_confusion(labels[:rows], np.eye(rows))) for rows in (60, 1000))
    assert len(many) == pytest.approx(len(few), rel=0.3)


def test_the_page_of_many_classes_lists_the_most_frequent_mistakes(card: ModelCard) -> None:
    labels = tuple(f"class {number}" for number in range(40))
    confusion = np.eye(40, dtype=int)
    confusion[3, 7], confusion[5, 6] = 9, 2
    evaluation = replace(card.evaluation, labels=labels, confusion=tuple(map(tuple, confusion.tolist())))
    text = to_page(replace(card, evaluation=evaluation), "d" * 64)
    table = text[text.index("Show as a table") :]
    assert table.index("class 3</th><td>class 7</td><td>9<") < table.index("class 5</th><td>class 6</td><td>2<")
    assert "predicted class 0" not in table
