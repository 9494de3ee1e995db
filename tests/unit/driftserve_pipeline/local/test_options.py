"""Tests of the settings and parameters that the flags of a local run give."""

import argparse
from pathlib import Path

import pytest

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.options import add_local_arguments, local_parameters, local_settings, with_record
from driftserve_pipeline.settings import PREFIX, PipelineSettings, read_settings, to_variables

DRAWN = ("--images", "drawn", "--drawn")


def _options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_local_arguments(parser, Path("work"), images_required=False)
    return parser.parse_args(arguments)


def _settings(*arguments: str, **environment: str) -> PipelineSettings:
    variables = {f"{PREFIX}{name.upper()}": text for name, text in environment.items()}
    return local_settings(_options(*arguments), variables, {"training_image": "ours:training"})


def _parameters(*arguments: str, tuning: bool = False) -> dict[str, str]:
    return local_parameters(_options(*arguments), PipelineSettings(tuning=tuning))


def test_a_local_run_is_short_and_uses_random_weights_only_for_generated_scenes() -> None:
    short = (24, 4, "ours:training")
    for arguments, pretrained in (
        (("--images", "mine"), True),
        (DRAWN, False),
        ((*DRAWN, "--weights", "w.safetensors"), True),
    ):
        settings = _settings(*arguments)
        assert (settings.robustness_images, settings.explained_images, settings.training_image) == short
        assert settings.pretrained == pretrained


def test_a_setting_from_the_environment_takes_precedence_unless_it_is_empty() -> None:
    environment = {"robustness_images": "3", "explained_images": "", "pretrained": "true", "training_image": "x:y"}
    settings = _settings(*DRAWN, **environment)
    assert (settings.robustness_images, settings.explained_images) == (3, 4)
    assert (settings.pretrained, settings.training_image) == (True, "x:y")
    with pytest.raises(PipelineError, match=r"DRIFTSERVE_PIPELINE_YAML: "):
        _settings(yaml="x")


def test_the_default_parameters_give_a_short_run() -> None:
    drawn = {"ImageSize": "64", "Epochs": "4", "AccuracyThreshold": "0.6"}
    assert _parameters("--images", "mine") == {"Epochs": "3"}
    assert _parameters(*DRAWN) == {**drawn, "Model": "test_resnet", "LearningRate": "0.004"}
    assert _parameters(*DRAWN, tuning=True) == drawn


def test_the_last_given_value_of_a_parameter_replaces_the_default() -> None:
    given = ("--param", "Epochs=1", "--param", "Epochs=2", "--param", "CodeRevision=a=b")
    assert _parameters("--images", "mine", *given) == {"Epochs": "2", "CodeRevision": "a=b"}
    with pytest.raises(PipelineError, match=r"--param: expected NAME=VALUE, got 'Epochs'"):
        _parameters("--images", "mine", "--param", "Epochs")


def test_a_record_beside_the_weights_is_included(tmp_path: Path) -> None:
    weights = tmp_path / "a b.safetensors"
    weights.touch()
    assert with_record(weights) == (weights,)
    record = tmp_path / "a b.safetensors.json"
    record.touch()
    assert with_record(weights) == (weights, record)


def test_settings_survive_the_conversion_to_variables_and_back() -> None:
    given = {
        "subnets": "a,b",
        "security_groups": "c",
        "tags": "team=vision,stage=a=b",
        "spot": "false",
        "cache_days": "0",
    }
    settings = read_settings({f"{PREFIX}{name.upper()}": text for name, text in given.items()})
    assert read_settings(to_variables(settings)) == settings
