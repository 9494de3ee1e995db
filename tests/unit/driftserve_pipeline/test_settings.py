import logging
import os

import pytest

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.sdk.session import offline
from driftserve_pipeline.settings import PREFIX, PipelineSettings, read_settings


def _read(**given: str) -> PipelineSettings:
    return read_settings({"HOME": "/root"} | {PREFIX + name.upper(): value for name, value in given.items()})


def test_default_names_derive_from_account_region_and_model() -> None:
    settings = _read(account="210987654321", region="us-east-1", model_name="streets")
    assert settings.role_arn == "arn:aws:iam::210987654321:role/driftserve-pipeline"
    assert settings.bucket == "driftserve-210987654321-us-east-1"
    assert settings.training_image == "210987654321.dkr.ecr.us-east-1.amazonaws.com/driftserve:training"
    assert settings.serving_image == "210987654321.dkr.ecr.us-east-1.amazonaws.com/driftserve:serving"
    assert settings.model_package_group == "streets"


def test_a_given_name_is_kept() -> None:
    assert _read(bucket="ours", role_arn="arn:aws:iam::210987654321:role/x").bucket == "ours"


def test_lists_and_tags_are_read_from_one_variable() -> None:
    settings = _read(subnets="subnet-1, subnet-2", security_groups="sg-1", tags="team=vision,stage=a=b", spot="false")
    assert (settings.subnets, settings.security_groups) == (("subnet-1", "subnet-2"), ("sg-1",))
    assert settings.tags == {"team": "vision", "stage": "a=b"}
    assert settings.spot is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "12"),
        ("region", "europe"),
        ("bucket", "Ours"),
        ("role_arn", "driftserve-pipeline"),
        ("training_image", "two words"),
        ("processing_instance_type", "m5"),
        ("processing_minutes", "0"),
        ("training_minutes", "50000"),
        ("cache_days", "-1"),
        ("certificate", "long"),
        ("weights", "weights/"),
        ("tags", "=x"),
        ("tuning_models", ""),
        ("yaml", "x"),
    ],
)
def test_the_error_for_a_value_out_of_bounds_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(PipelineError, match=rf"^DRIFTSERVE_PIPELINE_{name.upper()}: [^\n]+$"):
        _read(**{name: value})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"subnets": "subnet-1"}, "security_groups together"),
        ({"waiting_minutes": "10"}, "waiting_minutes of at least training_minutes"),
        ({"tuning_jobs": "2"}, "tuning_parallel_jobs of at most tuning_jobs"),
    ],
)
def test_incompatible_settings_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(PipelineError, match=rf"^DRIFTSERVE_PIPELINE_\*: expected [^\n]*{said}"):
        _read(**given)


def test_the_maximum_wait_applies_only_to_spot_instances() -> None:
    assert _read(waiting_minutes="10", spot="false").waiting_minutes == 10


def test_offline_mode_restores_the_environment() -> None:
    import boto3

    environment, level = dict(os.environ), logging.root.manager.disable
    boto3.setup_default_session(region_name="us-east-1")
    session = boto3.DEFAULT_SESSION
    try:
        with offline(PipelineSettings()):
            assert os.environ["AWS_ACCESS_KEY_ID"] == "offline"
            assert boto3.DEFAULT_SESSION is None
            os.environ["LEFT_BY_THE_SDK"] = "1"
        assert dict(os.environ) == environment
        assert boto3.DEFAULT_SESSION is session
        assert logging.root.manager.disable == level
    finally:
        boto3.DEFAULT_SESSION = None


@pytest.mark.parametrize("field", PipelineSettings.model_fields)
def test_an_empty_variable_is_refused(field: str) -> None:
    name = f"DRIFTSERVE_PIPELINE_{field.upper()}"
    with pytest.raises(PipelineError, match=rf"^{name}: expected a value, got an empty one; unset the variable"):
        _read(**{field: ""})


def test_a_value_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(PipelineError, match=f"{PREFIX}MODEL_NAME: expected UTF-8, got caf\udce9"):
        read_settings({f"{PREFIX}MODEL_NAME": "caf\udce9"})
