import pytest

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
