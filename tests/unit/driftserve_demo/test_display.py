import io
import re

import pytest
from rich.console import Console

from driftserve_demo.display import Display

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _screen(encoding: str = "utf-8", **options: object) -> tuple[Console, io.TextIOWrapper]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=file, width=100, _environ={}, **options), file  # type: ignore[arg-type]


def _text(file: io.TextIOWrapper) -> str:
    file.flush()
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(file.encoding)


def _run_two_stages(console: Console) -> None:
    with Display(console) as display:
        with display.stage("data", "images") as stage:
            stage.expect(1200)
            for _ in range(1200):
                stage.advance()
        with display.stage("export", "archive"):
            pass


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_terminal_shows_a_bar_where_something_is_counted_and_a_tick_at_the_end(encoding: str) -> None:
    console, file = _screen(encoding, force_terminal=True, legacy_windows=False)
    _run_two_stages(console)
    text = CONTROL.sub("", _text(file))
    first, second = [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-2:]
    tick = "✓" if encoding == "utf-8" else "+"
    assert re.fullmatch(rf"{re.escape(tick)} data +[━-]+ 1,200/1,200 images +\d+ s *", first)
    assert re.fullmatch(rf"{re.escape(tick)} export +archive +\d+ s *", second)
    assert len(first.rstrip()) <= 100


def test_elsewhere_each_stage_is_two_plain_lines() -> None:
    console, file = _screen()
    _run_two_stages(console)
    assert _text(file).splitlines() == [
        "data: started",
        "data: done in 0 s, 1,200/1,200 images",
        "export: started",
        "export: done in 0 s",
    ]


def test_a_stage_that_fails_gets_a_cross_and_its_error_goes_on() -> None:
    console, file = _screen(force_terminal=True, legacy_windows=False)
    with pytest.raises(ValueError, match="broken"), Display(console) as display, display.stage("train", "epochs"):
        raise ValueError("broken")
    assert "✗" in _text(file)


def test_a_count_that_falls_is_ignored_and_an_early_end_is_the_total() -> None:
    console, file = _screen()
    with Display(console) as display, display.stage("train", "epochs") as stage:
        stage.expect(6)
        stage.reach(4)
        stage.reach(-1)  # the file is being written again
    assert _text(file).splitlines()[-1] == "train: done in 0 s, 4/4 epochs"
