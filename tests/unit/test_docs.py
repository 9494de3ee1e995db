import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from checkout import ROOT
from driftserve.metrics.definitions import DEFINITIONS
from driftserve.settings import PREFIX, Settings
from driftserve_demo.synthetic import write_dataset

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    sys.path.insert(0, str(DOCS))  # as it is for a script: the module beside it
    specification = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_generated_pages_match_the_code(generate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_the_check_names_a_stale_page(generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--folder", str(tmp_path)]) == 0
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 0
    (tmp_path / "metrics.md").write_text("old")
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 1
    assert (tmp_path / "metrics.md").read_text() == "old"
    error = capsys.readouterr().err
    assert "metrics.md is stale" in error
    assert "settings.md" not in error


def test_every_setting_and_every_metric_has_a_row(generate: ModuleType) -> None:
    rows = generate.settings_page().splitlines()
    for name in Settings.model_fields:
        (row,) = [row for row in rows if row.startswith(f"| `{PREFIX}{name.upper()}` |")]
        assert all(cell.strip() for cell in row.split("|")[2:4] + row.split("|")[5:6])
        assert row.endswith(". |")
    page = generate.metrics_page()
    assert all(f"| `{definition.name}` |" in page for definition in DEFINITIONS)


def test_the_documented_default_of_workers_does_not_depend_on_this_machine(generate: ModuleType) -> None:
    assert "| `DRIFTSERVE_WORKERS` | integer | one per processor | 1 to 256 |" in generate.settings_page()


@pytest.mark.parametrize(("labels", "components"), [(2, 1), (6, 12), (365, 3)])
def test_the_formula_gives_the_number_of_metrics(generate: ModuleType, labels: int, components: int) -> None:
    found = re.search(r"\*\*(\d+) \+ (\d+) K \+ (\d+) E\*\*", generate.metrics_page())
    assert found is not None
    constant, per_label, per_component = map(int, found.groups())
    assert constant + per_label * labels + per_component * components == generate.series_count(labels, components)


def test_the_documented_demo_labels_are_those_of_its_images(generate: ModuleType, tmp_path: Path) -> None:
    write_dataset(tmp_path, {"val": 1})
    assert tuple(sorted(path.name for path in (tmp_path / "val").iterdir())) == generate.DEMO_LABELS
