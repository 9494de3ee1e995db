"""What the tests of a server run on: one of each kind."""

import pytest

from model_servers import SERVERS, Endpoint


@pytest.fixture(params=SERVERS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    started_endpoint: Endpoint = request.getfixturevalue(request.param)
    return started_endpoint
