"""The Python code of docs/sagemaker.md, run against moto's server; its environment is the container's settings."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from driftserve.archive.reading import read_archive
from driftserve.archive.writing import write_model_tarball
from driftserve.settings import Settings
from driftserve_pipeline.local.aws import local_aws, make_client


def test_the_code_of_the_page_creates_an_endpoint_that_serves_only_the_archive(archive: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sagemaker.md").read_text(), re.DOTALL)
    (tmp_path / "build/demo/model").mkdir(parents=True)
    shutil.copy(archive, tmp_path / "build/demo/model")
    packed = tmp_path / "build/demo/model.tar.gz"
    write_model_tarball(archive, packed)
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    image = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/driftserve@sha256:" + 64 * "0"
    (tmp_path / "imagedefinitions.json").write_text(json.dumps([{"name": "serving", "imageUri": image}]))
    with local_aws(None) as aws:
        s3, sagemaker = make_client("s3", aws), make_client("sagemaker", aws)
        location = {"LocationConstraint": aws["AWS_DEFAULT_REGION"]}
        s3.create_bucket(Bucket="my-bucket", CreateBucketConfiguration=location)
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | aws | programs, check=True, timeout=120
        )
        endpoint = sagemaker.describe_endpoint(EndpointName="scenes")
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
        container = model["PrimaryContainer"]
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == packed.read_bytes()
    assert endpoint["EndpointStatus"] == "InService"
    assert container["Image"] == image
    settings = {name.removeprefix("DRIFTSERVE_").lower(): text for name, text in container["Environment"].items()}
    assert set(settings) <= set(Settings.model_fields)
    assert settings["archive_sha256"] == read_archive(archive)[1]
    assert settings["endpoint_name"] == "scenes"
    assert settings["variant_name"] == config["ProductionVariants"][0]["VariantName"]
