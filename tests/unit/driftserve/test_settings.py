from pathlib import Path

import pytest

from driftserve.errors import SettingsError
from driftserve.settings import Settings


def test_cloudwatch_is_off_unless_it_is_set() -> None:
    assert Settings.from_environment({}).sinks == ("log",)
    assert Settings.from_environment({"DRIFTSERVE_SINKS": "cloudwatch, log"}).sinks == ("cloudwatch", "log")
    assert Settings.from_environment({"DRIFTSERVE_SINKS": ""}).sinks == ()


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


@pytest.mark.parametrize("text", ["", " ", ","])
def test_an_empty_allow_list_allows_nothing(text: str) -> None:
    with pytest.raises(SettingsError, match=r"DRIFTSERVE_ARCHIVE_SHA256: .*expected at least one digest"):
        Settings.from_environment({"DRIFTSERVE_ARCHIVE_SHA256": text})


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
