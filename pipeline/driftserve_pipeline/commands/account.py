"""The account that a command works on: whose settings, by which clients."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from driftserve_pipeline.commands.command import Outcome
from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings, read_settings

_ADVICE = {
    "AccessDenied": "let the caller's role do that",
    "AccessDeniedException": "let the caller's role do that",
    "ExpiredToken": "renew the credentials",
    "ExpiredTokenException": "renew the credentials",
    "NoSuchBucket": "correct the location",
    "ResourceNotFound": "see whether name, account and region are right",
    "UnrecognizedClientException": "see whether the credentials are of this account",
}


@dataclass(frozen=True)
class Account:
    """An account's clients by the settings; boto3 finds the credentials as it always does."""

    settings: PipelineSettings
    session: Any

    def client(self, service: str) -> Any:
        """boto3's client of a service, in the settings' region."""
        from botocore.config import Config

        return self.session.client(service, config=Config(retries={"mode": "standard", "max_attempts": 4}))


def on_account(
    run: Callable[[argparse.Namespace, Account], str | Outcome],
) -> Callable[[argparse.Namespace], str | Outcome]:
    """A command's `run` that is given the account; what AWS has against it becomes one line.

    Args:
        run: what the command does.
    """

    def translated(options: argparse.Namespace) -> str | Outcome:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        settings = read_settings(os.environ)
        try:
            return run(options, Account(settings, boto3.Session(region_name=settings.region)))
        except ClientError as error:
            advice = _ADVICE.get(error.response["Error"]["Code"], "correct what it names")
            raise PipelineError(f"expected AWS to do it, got: {error}; {advice}") from error
        except BotoCoreError as error:
            raise PipelineError(
                f"expected an answer of AWS, got: {error}; check credentials, region, network"
            ) from error

    return translated
