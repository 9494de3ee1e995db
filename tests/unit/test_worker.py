"""What a multi-model server's worker serves, from the directory that it was started in."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from driftserve.archive import read_archive, unpack_archive, write_model_tarball
from driftserve.errors import ArchiveError
from driftserve.settings import Settings
from driftserve.worker import prepare


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "models").mkdir()
    return Settings(runtime_dir=tmp_path / "runtime", models_dir=tmp_path / "models")


def _placed(archive: Path, settings: Settings, name: str = "one") -> Path:
    """The archive as SageMaker places it: the unpacked model.tar.gz."""
    place = settings.models_dir / name / "model"
    place.mkdir(parents=True)
    tarball = place.parent / "model.tar.gz"
    write_model_tarball(archive, tarball)
    with tarfile.open(tarball) as packed:
        packed.extractall(place, filter="data")
    return place


def test_a_verified_copy_is_served_and_workers_share_it(archive: Path, settings: Settings) -> None:
    served = prepare(_placed(archive, settings), settings)
    assert served.name == read_archive(archive)[1]
    assert (served / "model.pt").is_file()
    assert prepare(_placed(archive, settings, "two"), settings) == served


def test_an_archive_that_the_server_unpacked_is_verified_as_well(archive: Path, settings: Settings) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    assert prepare(place, settings).name == read_archive(archive)[1]


@pytest.mark.parametrize("name", ["sitecustomize.py", "model.pt", "driftserve_handler.py", "MAR-INF/MANIFEST.json"])
def test_an_unpacked_archive_with_another_file_is_refused(archive: Path, settings: Settings, name: str) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    (place / name).write_text("raise SystemExit('run')")
    with pytest.raises(ArchiveError, match=r"^unpacked: "):
        prepare(place, settings)
    assert not list(settings.models_dir.parent.glob("runtime/store/[0-9a-f]*"))


def test_a_link_in_an_unpacked_archive_is_refused(archive: Path, settings: Settings, tmp_path: Path) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    (place / "model.pt").rename(tmp_path / "elsewhere")
    (place / "model.pt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match=r"model\.pt: expected a plain file"):
        prepare(place, settings)


def test_an_archive_elsewhere_is_refused(archive: Path, settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(archive, place)
    with pytest.raises(ArchiveError, match="expected an archive below"):
        prepare(place, settings)
    (settings.models_dir / "link").symlink_to(place)
    with pytest.raises(ArchiveError, match="expected an archive below"):
        prepare(settings.models_dir / "link", settings)


def test_an_archive_that_is_not_on_the_allow_list_is_refused(archive: Path, settings: Settings) -> None:
    other = settings.model_copy(update={"archive_sha256": ("0" * 64,)})
    with pytest.raises(ArchiveError, match="DRIFTSERVE_ARCHIVE_SHA256"):
        prepare(_placed(archive, settings), other)


def test_a_copy_that_no_worker_holds_any_more_is_removed(archive: Path, settings: Settings) -> None:
    assert settings.runtime_dir is not None
    store = settings.runtime_dir / "store"
    for name in ("held", "left"):
        (store / name).mkdir(parents=True)
    descriptor = os.open(store / "held", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    served = prepare(_placed(archive, settings), settings)
    os.close(descriptor)
    assert {path.name for path in store.iterdir() if path.is_dir()} == {"held", served.name}


def test_what_lies_beside_the_archive_never_runs(archive: Path, settings: Settings, tmp_path: Path) -> None:
    place = _placed(archive, settings)
    for name in ("sitecustomize.py", "random.py", "driftserve_handler.py"):
        (place / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    script = tmp_path / "script.py"
    script.write_text(
        "import driftserve_handler, os; print(os.environ['SERVED_MODEL_DIR'], driftserve_handler.__file__)"
    )
    environment = settings.to_environment() | {"PYTHONPATH": str(place), "WORKER_PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", Path(prepare.__code__.co_filename).with_name("servers") / "multi_model_python.sh", script],
        cwd=place,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    served, handler = done.stdout.split()
    assert Path(handler).parent == Path(served)
    assert not (tmp_path / "ran").exists()
