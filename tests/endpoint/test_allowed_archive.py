"""A part of the smoke suite that needs a SageMaker endpoint: the containers may serve only the given archive."""

import pytest

from driftserve.archive.reading import directory_digest
from endpoint_clients import Expected, allowed_archives


def test_the_endpoint_may_serve_only_the_given_archive(pytestconfig: pytest.Config, expected: Expected) -> None:
    digest = directory_digest(expected.directory, expected.contract)
    assert allowed_archives(pytestconfig.getoption("--sagemaker-endpoint")) == {digest}
