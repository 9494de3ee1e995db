"""Run the tests of a server on TorchServe and on MMS."""

import pytest

from model_servers import SERVERS, Endpoint


@pytest.fixture(params=SERVERS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    started_endpoint: Endpoint = request.getfixturevalue(request.param)
    return started_endpoint
