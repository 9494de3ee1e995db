import sys
from pathlib import Path

import pytest

from driftserve.errors import DriftserveError
from driftserve_demo import child


def test_the_output_of_a_command_is_in_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    polls: list[None] = []
    program = "import sys; print('to stdout', flush=True); print('to stderr', file=sys.stderr)"
    child.run([sys.executable, "-c", program], tmp_path / "log", lambda: polls.append(None))
    assert (tmp_path / "log").read_text().splitlines() == ["to stdout", "to stderr"]
    assert capfd.readouterr() == ("", "")
    assert polls


def test_a_command_that_fails_raises_with_its_exit_status(tmp_path: Path) -> None:
    with pytest.raises(DriftserveError, match="exit status 3"):
        child.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", lambda: None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("first\nlast\n\n", "last"),
        ("10%\r20%\r\n", "20%"),
        ('the reason\n{"level": "INFO", "message": "metrics"}\n', "the reason"),
        ("\x1b[31mred\x1b[0m\n \x1b[A\n", "red"),
    ],
)
def test_the_last_line_of_a_log_is_the_last_that_can_be_a_reason(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "log").write_bytes(text.encode())
    assert child.last_line(tmp_path / "log") == line


def test_a_log_that_was_never_written_has_no_last_line(tmp_path: Path) -> None:
    assert child.last_line(tmp_path / "log") == ""
