"""Run the endpoint smoke suite against each image, and compare the probabilities of all images."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import urllib3

from checkout import ROOT
from containers import container, gateway, serving, tag
from endpoint_clients import SUITE_TESTS
from fake_lambda import fake_lambda
from model_servers import TEST_MARK
from sample_images import encode, scene

pytestmark = pytest.mark.image

TARGETS = ("serving", "serving-mms", "lambda")


@contextmanager
def _url(target: str, model_dir: Path) -> Iterator[str]:
    """Run a container of the image; yield its URL: a server's port, or a function's URL."""
    if target != "lambda":
        with serving(tag(target), model_dir) as server:
            yield server.url
        return
    image = tag(target)
    with fake_lambda(gateway()) as fake:
        options = ("--volume", f"{model_dir}:/opt/ml/model:ro")
        with container(image, options=options, settings={"AWS_LAMBDA_RUNTIME_API": fake.runtime_api}):
            yield fake.url


@pytest.mark.parametrize("target", TARGETS)
def test_the_smoke_suite_passes(target: str, model_dir: Path) -> None:
    with _url(target, model_dir) as url:
        command = [sys.executable, "-m", "pytest", "-q", "--endpoint-url", url, "--archive", str(model_dir)]
        done = subprocess.run([*command, "tests/endpoint"], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    summary = done.stdout.splitlines()[-1]
    assert f"{SUITE_TESTS} passed" in summary, done.stdout
    assert "skipped" not in summary, done.stdout


def test_all_images_give_the_same_probabilities(model_dir: Path) -> None:
    generator = np.random.default_rng(31)
    images = [encode(scene(generator, offset)) for offset in generator.normal(0, 30, 50)]
    answers = []
    for target in TARGETS:
        with _url(target, model_dir) as url:
            answers.append([_probabilities(url, image) for image in images])
    assert np.abs(np.diff(np.array(answers), axis=0)).max() <= 1e-6


def _probabilities(url: str, image: bytes) -> list[float]:
    headers = {"Content-Type": "image/png"} | TEST_MARK
    response = urllib3.request("POST", f"{url}/invocations", body=image, headers=headers, retries=False, timeout=70)
    assert response.status == 200
    return list(json.loads(response.data)["probabilities"].values())
