"""The AWS account that a command works on: its settings and its clients."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from driftserve_pipeline.commands.command import Outcome
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, read_settings

_ADVICE = {
    "AccessDenied": "grant the caller's role this permission",
    "AccessDeniedException": "grant the caller's role this permission",
    "ExpiredToken": "renew the credentials",
    "ExpiredTokenException": "renew the credentials",
    "NoSuchBucket": "correct the location",
    "ResourceNotFound": "check the name, the account and the region",
    "UnrecognizedClientException": "check that the credentials belong to this account",
}


@dataclass(frozen=True)
class Account:
    """The settings and boto3 clients of an account. boto3 finds the credentials in its usual way."""

    settings: PipelineSettings
    session: Any

    def client(self, service: str) -> Any:
        """Return boto3's client of a service, in the settings' region."""
        from botocore.config import Config

        return self.session.client(service, config=Config(retries={"mode": "standard", "max_attempts": 4}))


def on_account(
    run: Callable[[argparse.Namespace, Account], str | Outcome],
) -> Callable[[argparse.Namespace], str | Outcome]:
    """Return a command's `run` function that opens the account, calls `run`, and reports AWS errors in one line.

    Args:
        run: the work of the command on the account.
    """

    def translated(options: argparse.Namespace) -> str | Outcome:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        settings = read_settings(os.environ)
        try:
            return run(options, Account(settings, boto3.Session(region_name=settings.region)))
        except ClientError as error:
            advice = _ADVICE.get(error.response["Error"]["Code"], "correct what the error names")
            raise PipelineError(f"expected AWS to accept the request, got: {error}; {advice}") from error
        except BotoCoreError as error:
            raise PipelineError(
                f"expected a response from AWS, got: {error}; check credentials, region, network"
            ) from error

    return translated
