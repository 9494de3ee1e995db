"""What a multi-model server's worker serves, from the directory that it was started in."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from driftserve.activity import BusyMark
from driftserve.archive import read_archive, unpack_archive, write_model_tarball
from driftserve.cgroup import available_memory_bytes
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
    assert not list(settings.models_dir.parent.glob("runtime/store/" + "?" * 64))


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


def test_a_mar_alone_in_a_directory_cannot_be_served_and_is_said_to(archive: Path, settings: Settings) -> None:
    place = settings.models_dir / "alone"
    place.mkdir()
    shutil.copy(archive, place)
    with pytest.raises(ArchiveError, match=r"MANIFEST\.json beside tiny\.mar"):
        prepare(place, settings)


def test_an_archive_that_is_not_on_the_allow_list_is_refused(archive: Path, settings: Settings) -> None:
    other = settings.model_copy(update={"archive_sha256": ("0" * 64,)})
    with pytest.raises(ArchiveError, match="DRIFTSERVE_ARCHIVE_SHA256"):
        prepare(_placed(archive, settings), other)


def test_a_copy_that_no_worker_holds_any_more_is_removed(archive: Path, settings: Settings) -> None:
    assert settings.runtime_dir is not None
    store = settings.runtime_dir / "store"
    held, left = "a" * 64, "b" * 64
    for name in (held, left):
        (store / name).mkdir(parents=True)
    descriptor = os.open(store / held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    served = prepare(_placed(archive, settings), settings)
    os.close(descriptor)
    assert {path.name for path in store.glob("?" * 64)} == {held, served.name}


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


def test_without_memory_for_the_archive_the_handler_says_so(archive: Path, settings: Settings) -> None:
    place = _placed(archive, settings)
    with (place / archive.name).open("ab") as file:
        file.truncate(1 << 42)  # sparse: more than any machine has
    served = prepare(place, settings)
    with pytest.raises(MemoryError, match="no memory for another model"):
        exec((served / "driftserve_handler.py").read_text() + "handle(None, None)", {})  # noqa: S102


def test_memory_that_another_worker_is_about_to_take_is_not_given_twice(archive: Path, settings: Settings) -> None:
    assert settings.runtime_dir is not None
    place = _placed(archive, settings)
    beginning = settings.runtime_dir / "store" / "beginning"
    beginning.mkdir(parents=True)
    others = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    try:
        for other in others:
            (beginning / str(other.pid)).touch()
        with (place / archive.name).open("ab") as file:
            file.truncate(available_memory_bytes() // 6)  # room for one of the three that a worker counts for, twice
        assert prepare(place, settings).name == "no-memory"
        for other in others:  # they have loaded their model
            BusyMark(settings.runtime_dir)
            (settings.runtime_dir / "workers" / str(other.pid)).touch()
        with pytest.raises(ArchiveError, match=r"tiny\.mar: expected"):  # what was appended makes it no archive
            prepare(place, settings)
    finally:
        for other in others:
            other.kill()
            other.wait()
