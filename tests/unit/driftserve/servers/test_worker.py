"""Tests of a multi-model worker: which files it serves from its start directory, and which it refuses."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from driftserve.archive.reading import read_archive, unpack_archive
from driftserve.archive.writing import write_model_tarball
from driftserve.errors import ArchiveError
from driftserve.host.process import started_at
from driftserve.runtime.activity import BusyMark
from driftserve.servers.torchserve import MULTI_MODEL_PROGRAMS
from driftserve.servers.worker import reserve_memory, served_directory
from driftserve.settings import Settings
from image_folders import add_companions


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "models").mkdir()
    return Settings(runtime_dir=tmp_path / "runtime", models_dir=tmp_path / "models")


def _placed(archive: Path, settings: Settings, name: str = "one") -> Path:
    """Unpack the archive's model.tar.gz as SageMaker does; return the directory."""
    place = settings.models_dir / name / "model"
    place.mkdir(parents=True)
    tarball = place.parent / "model.tar.gz"
    write_model_tarball(archive, tarball)
    with tarfile.open(tarball) as packed:
        packed.extractall(place, filter="data")
    return place


def _unpacked(archive: Path, settings: Settings) -> Path:
    """Unpack the archive itself; return the directory."""
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    return place


def test_a_verified_copy_is_served_and_workers_share_it(archive: Path, settings: Settings) -> None:
    served = served_directory(_placed(archive, settings), settings)
    assert served.name == read_archive(archive)[1]
    assert (served / "model.pt").is_file()
    assert served_directory(_placed(archive, settings, "two"), settings) == served


def test_a_copy_of_which_somebody_removed_files_is_made_again(archive: Path, settings: Settings) -> None:
    place = _placed(archive, settings)
    served = served_directory(place, settings)
    (served / "model.pt").unlink()
    assert served_directory(place, settings) == served
    assert (served / "model.pt").is_file()


def test_an_archive_that_the_server_unpacked_is_verified_too(archive: Path, settings: Settings) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    assert served_directory(place, settings).name == read_archive(archive)[1]


@pytest.mark.parametrize("unpack", [_placed, _unpacked])
def test_files_whose_names_begin_with_a_dot_are_ignored_beside_and_in_an_archive(
    archive: Path, settings: Settings, unpack: Callable[[Path, Settings], Path]
) -> None:
    place = unpack(archive, settings)
    add_companions(place)
    served = served_directory(place, settings)
    assert served.name == read_archive(archive)[1]
    assert not list(served.glob(".*"))


@pytest.mark.parametrize("name", ["sitecustomize.py", "model.pt", "driftserve_handler.py", "MAR-INF/MANIFEST.json"])
def test_an_unpacked_archive_with_another_file_is_refused(archive: Path, settings: Settings, name: str) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    (place / name).write_text("raise SystemExit('run')")
    with pytest.raises(ArchiveError, match=r"^unpacked: "):
        served_directory(place, settings)
    assert not list(settings.models_dir.parent.glob("runtime/store/" + "?" * 64))


def test_a_link_in_an_unpacked_archive_is_refused(archive: Path, settings: Settings, tmp_path: Path) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    (place / "model.pt").rename(tmp_path / "elsewhere")
    (place / "model.pt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match=r"model\.pt: expected a regular file"):
        served_directory(place, settings)


def test_an_archive_outside_the_models_directory_is_refused(archive: Path, settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(archive, place)
    with pytest.raises(ArchiveError, match="expected an archive below"):
        served_directory(place, settings)
    (settings.models_dir / "link").symlink_to(place)
    with pytest.raises(ArchiveError, match="expected an archive below"):
        served_directory(settings.models_dir / "link", settings)


def test_a_directory_with_only_a_mar_file_is_refused(archive: Path, settings: Settings) -> None:
    place = settings.models_dir / "alone"
    place.mkdir()
    shutil.copy(archive, place)
    with pytest.raises(ArchiveError, match=r"expected MAR-INF/MANIFEST\.json, driftserve_handler\.py, tiny\.mar, got"):
        served_directory(place, settings)


def test_an_archive_that_is_not_on_the_allow_list_is_refused(archive: Path, settings: Settings) -> None:
    other = settings.model_copy(update={"archive_sha256": ("0" * 64,)})
    with pytest.raises(ArchiveError, match="DRIFTSERVE_ARCHIVE_SHA256"):
        served_directory(_placed(archive, settings), other)


def test_a_copy_that_no_worker_uses_is_removed(archive: Path, settings: Settings) -> None:
    assert settings.runtime_dir is not None
    store = settings.runtime_dir / "store"
    held, left = "a" * 64, "b" * 64
    for name in (held, left):
        (store / name).mkdir(parents=True)
    descriptor = os.open(store / held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    (settings.runtime_dir / "models").mkdir()
    for key in (f"{held}@day", left, f"{left}@day", f"{left}@night"):
        (settings.runtime_dir / "models" / f"{key}.json").touch()
    served = served_directory(_placed(archive, settings), settings)
    os.close(descriptor)
    assert {path.name for path in store.glob("?" * 64)} == {held, served.name}
    assert [path.stem for path in settings.runtime_dir.glob("models/*.json")] == [f"{held}@day"]


def test_the_worker_uses_the_copy_for_every_program_that_the_server_starts(
    archive: Path, settings: Settings, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import importlib.util, os\n"
        "print(os.environ['SERVED_MODEL_DIR'], importlib.util.find_spec('driftserve_handler').origin)"
    )
    place = _placed(archive, settings)
    for program in ("python", "python2", "python3", "torchrun"):
        done = _started(program, place, settings, script)
        assert done.returncode == 0, (program, done.stderr)
        served, handler = done.stdout.split()
        assert Path(handler).parent == Path(served)


@pytest.mark.parametrize(
    "name", ["sitecustomize.py", "random.py", "driftserve_handler.py", "venv/bin/python", "evil.pt"]
)
def test_other_files_beside_the_archive_are_refused_and_never_run(
    archive: Path, settings: Settings, tmp_path: Path, name: str
) -> None:
    place = _placed(archive, settings)
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    done = _started("python", place, settings, tmp_path / "script.py")
    assert done.returncode == 1
    assert done.stderr.startswith("driftserve: model: ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", [("driftserve_handler.py", "base_handler"), ('"python"', '"python3"')])
def test_the_manifest_must_equal_the_one_in_the_mar(archive: Path, settings: Settings, change: tuple[str, str]) -> None:
    place = _placed(archive, settings)
    manifest = place / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(ArchiveError, match=r"MANIFEST\.json: expected a copy of the file in tiny\.mar"):
        served_directory(place, settings)


def _started(program: str, place: Path, settings: Settings, script: Path) -> "subprocess.CompletedProcess[str]":
    environment = settings.to_environment() | {"PYTHONPATH": str(place), "WORKER_PYTHON": sys.executable}
    command = [MULTI_MODEL_PROGRAMS / program, script]
    return subprocess.run(command, cwd=place, env=os.environ | environment, capture_output=True, text=True)


def test_memory_is_reserved_only_if_enough_is_free(archive: Path, settings: Settings) -> None:
    place = settings.models_dir / "unpacked"
    unpack_archive(archive, place)
    with (place / "model.pt").open("ab") as file:
        file.truncate(1 << 30)  # sparse
    assert not reserve_memory(place, _runtime_dir(settings), 3 << 30)
    assert reserve_memory(place, _runtime_dir(settings), 4 << 30)


def _runtime_dir(settings: Settings) -> Path:
    assert settings.runtime_dir is not None
    return settings.runtime_dir


def test_memory_reserved_by_another_worker_is_not_reserved_twice(archive: Path, settings: Settings) -> None:
    runtime_dir, free = _runtime_dir(settings), 900 << 20
    other = subprocess.Popen(["sleep", "60"])
    try:
        assert reserve_memory(archive, runtime_dir, free)
        ours = runtime_dir / "beginning" / str(os.getpid())
        (runtime_dir / "beginning" / str(other.pid)).write_text(f"{700 << 20} {started_at(other.pid)}")
        ours.unlink()
        assert not reserve_memory(archive, runtime_dir, free)
        # The process that has this id now is another one than that which made the reservation.
        (runtime_dir / "beginning" / str(other.pid)).write_text(f"{700 << 20} {(started_at(other.pid) or 0) - 1}")
        assert reserve_memory(archive, runtime_dir, free)
        BusyMark(runtime_dir)  # the model is loaded
        assert list((runtime_dir / "beginning").iterdir()) == []
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("text", ["", "700", "7 x"])
def test_a_damaged_reservation_is_removed(archive: Path, settings: Settings, text: str) -> None:
    damaged = _runtime_dir(settings) / "beginning" / str(os.getppid())
    damaged.parent.mkdir()
    damaged.write_text(text)
    assert reserve_memory(archive, _runtime_dir(settings), 1 << 40)
    assert not damaged.exists()


def test_files_of_a_killed_verification_are_removed(archive: Path, settings: Settings) -> None:
    left = _runtime_dir(settings) / "store" / f"unverified-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "model.pt").write_text("half of it")
    assert served_directory(_placed(archive, settings), settings).is_dir()
    assert not left.exists()
