#!/usr/bin/env bash
# moto 5.2.5: approving a SageMaker model package erases its CustomerMetadataProperties.
#
# Expected: `update_model_package` changes only what the request names. The API has its own field for removing
# metadata, CustomerMetadataPropertiesToRemove. Seen (Python 3.11, boto3 1.44.8): a request that names only the
# approval status changes the status, keeps the description and removes all metadata. It reports no error. A test of
# an approval job against moto therefore sees a package without metadata. A request that sends the metadata again
# keeps it.
#
# Output seen:
#   before: PendingManualApproval first {'revision': 'abc'}
#   after:  Approved first {}
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check moto==5.2.5 boto3==1.44.8
cat >"$folder/approve.py" <<'PY'
import boto3
from moto import mock_aws


def read(client, arn: str) -> tuple[str, str | None, dict[str, str]]:
    package = client.describe_model_package(ModelPackageName=arn)
    metadata = package.get("CustomerMetadataProperties") or {}
    return package["ModelApprovalStatus"], package.get("ModelPackageDescription"), metadata


with mock_aws():
    client = boto3.client(
        "sagemaker", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    client.create_model_package_group(ModelPackageGroupName="classifier")
    arn = client.create_model_package(
        ModelPackageGroupName="classifier",
        ModelPackageDescription="first",
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"revision": "abc"},
    )["ModelPackageArn"]
    before = read(client, arn)
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    after = read(client, arn)
print("before:", *before)
print("after: ", *after)
still_so = before == ("PendingManualApproval", "first", {"revision": "abc"}) and after == ("Approved", "first", {})
raise SystemExit(0 if still_so else 1)
PY
"$folder/venv/bin/python" "$folder/approve.py"
