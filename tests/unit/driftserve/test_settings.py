from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from driftserve.errors import SettingsError
from driftserve.settings import SAGEMAKER_NAMES, Settings
from driftserve.text import printable


def test_cloudwatch_is_off_unless_it_is_set() -> None:
    assert Settings.from_environment({}).sinks == ("log",)
    assert Settings.from_environment({"DRIFTSERVE_SINKS": "cloudwatch, log"}).sinks == ("cloudwatch", "log")
    assert Settings.from_environment({"DRIFTSERVE_SINKS": "none"}).sinks == ()
    assert Settings.from_environment(Settings(sinks=()).to_environment()).sinks == ()


def test_endpoint_and_variant_are_local_by_default() -> None:
    settings = Settings.from_environment({})
    assert (settings.endpoint_name, settings.variant_name) == ("local", "AllTraffic")


def test_an_unknown_variable_with_our_prefix_is_refused() -> None:
    with pytest.raises(SettingsError, match="DRIFTSERVE_WORKER: no such setting"):
        Settings.from_environment({"DRIFTSERVE_WORKER": "2"})


def test_the_data_variable_of_the_tests_is_allowed() -> None:
    Settings.from_environment({"DRIFTSERVE_DATA": "/anywhere", "PATH": "/bin"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DRIFTSERVE_WORKERS", "none"),
        ("DRIFTSERVE_WORKERS", "0"),
        ("DRIFTSERVE_SINKS", "cloudwach"),
        ("DRIFTSERVE_METRICS_PERIOD_SECONDS", "0.1"),
        ("DRIFTSERVE_LOG_LEVEL", "loud"),
        ("DRIFTSERVE_ARCHIVE_SHA256", "abc"),
    ],
)
def test_the_error_for_a_bad_value_names_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}: .*got '{text}'"):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("host", ["::", "::1", "[::1]"])
def test_an_ipv6_address_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^DRIFTSERVE_HOST: .*expected an IPv4 address or a name, .*got '"):
        Settings.from_environment({"DRIFTSERVE_HOST": host})


@pytest.mark.parametrize("field", Settings.model_fields)
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_variable_is_refused(field: str, text: str) -> None:
    name = f"DRIFTSERVE_{field.upper()}"
    for variable in {name, SAGEMAKER_NAMES.get(field, name)}:
        with pytest.raises(
            SettingsError, match=rf"^{variable}: expected a value, got an empty one; unset the variable"
        ):
            Settings.from_environment({variable: text})


@pytest.mark.parametrize(
    ("name", "reason"),
    [("DRIFTSERVE_ARCHIVE_SHA256", "expected at least one digest"), ("DRIFTSERVE_SINKS", "expected at least one sink")],
)
def test_a_list_of_nothing_is_refused(name: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}: .*{reason}"):
        Settings.from_environment({name: " , "})


def test_a_child_process_gets_the_same_settings() -> None:
    settings = Settings(sinks=("cloudwatch", "log"), runtime_dir=Path("/somewhere"), workers=3)
    assert Settings.from_environment(settings.to_environment()) == settings


def test_sagemakers_variables_are_used_but_ours_take_precedence() -> None:
    theirs = {
        "SAGEMAKER_BIND_TO_PORT": "9000",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": "20",
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_REGION": "eu-west-1",
    }
    settings = Settings.from_environment(theirs)
    assert (settings.port, settings.workers, settings.response_timeout_seconds) == (9000, 3, 20)
    assert settings.multi_model
    assert Settings.from_environment(theirs | {"DRIFTSERVE_PORT": "9001"}).port == 9001


def test_the_error_for_a_bad_value_of_sagemaker_names_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"SAGEMAKER_MODEL_SERVER_WORKERS: .*got 'many'"):
        Settings.from_environment({"SAGEMAKER_MODEL_SERVER_WORKERS": "many"})


def test_a_value_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(SettingsError, match="DRIFTSERVE_MODEL_DIR: expected UTF-8, got /models/caf\udce9"):
        Settings.from_environment({"DRIFTSERVE_MODEL_DIR": "/models/caf\udce9"})


@pytest.mark.fuzz
@hypothesis.given(
    st.dictionaries(
        st.sampled_from([f"DRIFTSERVE_{field.upper()}" for field in Settings.model_fields]),
        st.one_of(
            st.text(st.characters(exclude_characters="\0"), max_size=20),
            st.sampled_from(
                ["", " ", ",", "0", "1", "-1", "1e999", "nan", "true", "none", "log", "mms", "/a", "\udc80"]
            ),
        ),
        max_size=4,
    )
)
def test_any_variables_give_settings_or_one_line(environment: dict[str, str]) -> None:
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        line = printable(error)
    else:
        assert Settings.from_environment(settings.to_environment()) == settings
        assert all(value.strip() for value in environment.values())
        return
    assert any(line.startswith(name) for name in environment)
    assert "\n" not in line
