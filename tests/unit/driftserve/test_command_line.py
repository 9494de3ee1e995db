import contextlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve.command_line import Parser


@pytest.mark.parametrize("program", ["driftserve", "python -m driftserve"])
def test_an_error_is_one_line_with_exit_status_2(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Parser(prog=program).parse_args(["--fast"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"driftserve: unrecognized arguments: --fast; run `{program} --help` for usage\n"


def test_the_error_of_a_command_names_the_program_once(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="python -m program")
    parser.add_subparsers(dest="command").add_parser("fly").add_argument("--high", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["fly", "--high", "very"])
    error = "program: argument --high: invalid int value: 'very'; run `python -m program fly --help` for usage\n"
    assert capsys.readouterr().err == error


def test_an_argument_that_is_not_utf8_is_refused_with_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="driftserve")
    parser.add_argument("file")
    assert parser.parse_args(["caf\u00e9.jpg"]).file == "caf\u00e9.jpg"
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["caf\udce9.jpg"])
    assert ended.value.code == 2
    assert "driftserve: expected arguments in UTF-8, got caf\\xe9.jpg; rename" in capsys.readouterr().err


def test_an_empty_path_is_not_the_current_directory(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="driftserve")
    parser.add_argument("--output", type=Path)
    verify = parser.add_subparsers().add_parser("verify")
    verify.add_argument("archive", type=Path, nargs="*")
    assert parser.parse_args(["--output", ".", "verify", "a.mar"]).archive == [Path("a.mar")]
    for arguments in (["verify", ""], ["verify", "a.mar", ""], ["--output", "", "verify"], ["--output=", "verify"]):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "expected a file or folder, got an empty argument; is a variable of the shell not set?" in line


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=20).map(os.fsdecode), max_size=3))
def test_any_arguments_are_taken_whole_or_refused(arguments: list[str]) -> None:
    parser = Parser(prog="driftserve")
    parser.add_argument("files", nargs="*")
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            assert parser.parse_args(["--", *arguments]).files == arguments
    except SystemExit as ended:
        status = ended.code
    else:
        return
    (line,) = errors.getvalue().splitlines()
    assert (status, line.isprintable()) == (2, True)
