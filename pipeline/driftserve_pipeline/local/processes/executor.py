"""Run steps on this machine: jobs as processes, registrations with boto3."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes import job
from driftserve_pipeline.local.processes.journal import Ended, Journal
from driftserve_pipeline.local.processes.plan import Step
from driftserve_pipeline.local.processes.tuning import best_training, to_processing
from driftserve_pipeline.registry.registration import Registration, register

_CALLS = {  # for each kind of step: the call that SageMaker makes for it
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "RegisterModel": "CreateModelPackage",
}
_JOB_NAMES = {"Processing": "ProcessingJobName", "Training": "TrainingJobName", "Tuning": "HyperParameterTuningJobName"}


class LocalExecutor:
    """Runs a step in its folder of the journal.

    Args:
        execution_id: a part of the jobs' names.
        journal: contains a folder for each step.
        machine: the resources that jobs need.
        registry: boto3's client for SageMaker.
    """

    def __init__(self, execution_id: str, journal: Journal, machine: job.Machine, registry: Any) -> None:
        self._execution_id = execution_id
        self._journal = journal
        self._machine = machine
        self._registry = registry

    def run(self, step: Step, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a step to its end.

        Raises:
            PipelineError: SageMaker would refuse the arguments, or the step failed.
        """
        request = self._request(step.name, step.kind, arguments)
        self._check_shape(step.kind, request)
        if step.kind == "RegisterModel":
            return {"ModelPackageArn": register(self._registry, to_registration(arguments))}
        folder = self._journal.step_folder(step.name)
        base, log = folder / "ml", folder / "log"
        if step.kind == "Processing":
            job.run_processing(request, base, log, self._machine)
            return self._publish(step.name, step.kind, request)
        if step.kind == "Tuning":
            job.run_processing(to_processing(request), base, log, self._machine)
            return best_training(base)
        job.run_training(request, base, log, self._machine)
        return {**self._publish(step.name, step.kind, request), "FinalMetrics": job.final_metrics(request, log)}

    def restore(self, ended: Ended) -> None:
        """Put the outputs of a finished step into S3 and the registry again, because the server may be a new one."""
        if ended.kind == "RegisterModel":
            register(self._registry, to_registration(ended.arguments))
        elif ended.kind != "Tuning":  # a search has no output except the chosen values
            self._publish(ended.step, ended.kind, self._request(ended.step, ended.kind, ended.arguments))

    def property_files(self, step: Step, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content of the step's property files, read from S3 as SageMaker does.

        Raises:
            PipelineError: a file is missing, or is not JSON.
        """
        outputs = arguments.get("ProcessingOutputConfig", {}).get("Outputs", ())
        places = {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}
        found = {}
        for file in step.property_files:
            uri = f"{places[file.output].rstrip('/')}/{file.path}"
            try:
                found[file.name] = json.loads(self._machine.storage.read(uri))
            except ValueError as error:
                raise PipelineError(f"{uri} is not JSON: {error}") from error
        return found

    def _publish(self, name: str, kind: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Copy a job's outputs to their locations; return the fields that SageMaker adds to its arguments."""
        base = self._journal.step_folder(name) / "ml"
        named = {_JOB_NAMES[kind]: request[_JOB_NAMES[kind]]}
        if kind == "Processing":
            job.publish_processing(request, base, self._machine.storage)
            return named
        return named | job.publish_training(request, base, self._machine.storage)

    def _request(self, name: str, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request that SageMaker sends for the step: the arguments, and a name for the job."""
        if kind not in _JOB_NAMES:
            return dict(arguments)
        return {_JOB_NAMES[kind]: f"pipelines-{self._execution_id}-{name}", **arguments}

    def _check_shape(self, kind: str, request: Mapping[str, Any]) -> None:
        shape = self._registry.meta.service_model.operation_model(_CALLS[kind]).input_shape
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            error = ParamValidationError(report=report.generate_report())
            raise PipelineError(f"SageMaker would refuse the arguments of {_CALLS[kind]}: {error}")


def to_registration(arguments: Mapping[str, Any]) -> Registration:
    """Return the registration that a RegisterModel step describes.

    Raises:
        PipelineError: the arguments do not describe exactly one model.
    """
    try:
        (container,) = arguments["InferenceSpecification"]["Containers"]
        statistics = arguments.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        return Registration(
            group=arguments["ModelPackageGroupName"],
            image=container["Image"],
            model_data_url=container["ModelDataUrl"],
            evaluation_url=statistics.get("S3Uri"),
            metadata=arguments.get("CustomerMetadataProperties", {}),
        )
    except (KeyError, ValueError) as error:
        raise PipelineError(
            f"expected a group and one container with its model data; wrong or missing: {error!r}"
        ) from error
